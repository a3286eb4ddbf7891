"""One more of each kind is one file, added to a copy of the tree; the conformance suite of the kind passes
there.

A design is two files, its fragment and its description. Nothing else in the copy changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_program

_ROOT = Path(__file__).parents[2]
_SCHEDULER = '''"""The next one: the runnable actors in turn."""

from __future__ import annotations

from collections.abc import Sequence

from emu.seed import seed_of

NAME = "added-here"


class Next:
    """Picks the actor behind the one that went last."""

    def __init__(self, text: str = "") -> None:
        self._start = seed_of(text)

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the next one."""
        higher = [actor for actor in runnable if actor > current]
        return higher[0] if higher else runnable[0]


SCHEDULER = Next
'''


_NAME = "added-here"
# Kind: the files that add one more, each made of a member that is there, with what is changed in it.
_FILES: dict[str, dict[str, tuple[str, *tuple[tuple[str, str], ...]]]] = {
    "lookup": {"asm/lookup/added-here.S": ("asm/lookup/v3.S", ("mov     x19, #0", "mov     x19, xzr"))},
    "design": {
        "asm/slot/slot_added.S": ("asm/slot/slot_per_cpu.S", ("slot_per_cpu", "slot_added")),
        "emu/designs/added_here.py": (
            "emu/designs/v3.py",
            ('NAME = "v3"', f'NAME = "{_NAME}"'),
            ("slot/slot_per_cpu", "slot/slot_added"),
        ),
    },
    "memory_model": {
        "emu/models/added_here.py": ("emu/models/coherent.py", ('NAME = "coherent"', f'NAME = "{_NAME}"'))
    },
    "rule": {
        "emu/rules/added_here.py": ("emu/rules/readonly.py", ('NAME = "readonly"', f'NAME = "{_NAME}"'))
    },
    "fault": {
        "emu/host/faults/added_here.py": ("emu/host/faults/late.py", ('NAME = "late"', f'NAME = "{_NAME}"'))
    },
    "enable_method": {
        "emu/host/enable_method/added_here.py": (
            "emu/host/enable_method/spin_table.py",
            ('NAME = "spin-table"', f'NAME = "{_NAME}"'),
        )
    },
    "bringup": {
        "emu/host/bringup/added_here.py": (
            "emu/host/bringup/serial.py",
            ('NAME = "serial"', f'NAME = "{_NAME}"'),
        )
    },
    "core": {
        "emu/cpu/cores/added_here.py": (
            "emu/cpu/cores/cortex_a53.py",
            ('NAME = "cortex-a53"', f'NAME = "{_NAME}"'),
            ("MIDR = 0x410F_D034", "MIDR = 0x420F_D034"),
        )
    },
    "device": {
        "emu/devices/added_here.py": ("emu/devices/pl011.py", ('NAME = "pl011"', f'NAME = "{_NAME}"'))
    },
    "controller": {
        "emu/devices/controllers/added_here.py": (
            "emu/devices/controllers/gicv2.py",
            ('NAME = "gicv2"', f'NAME = "{_NAME}"'),
        )
    },
    "assembler": {
        "emu/subject/assemblers/added_here.py": (
            "emu/subject/assemblers/gnu.py",
            ('NAME = "gnu"', f'NAME = "{_NAME}"'),
        )
    },
    "preset": {
        "emu/topology/presets/added_here.py": (
            "emu/topology/presets/smt.py",
            ('NAME = "smt"', f'NAME = "{_NAME}"'),
        )
    },
}
# Other tests of the kind, which must not have to know of one more.
_ALSO = {
    "scheduler": "unit/test_schedulers.py",
    "design": "unit/test_designs.py",
    "device": "unit/test_devices.py",
    "fault": "spec/test_faults.py::test_bad_fault_specification_says_what_is_wrong",
    "preset": "unit/test_presets.py::test_what_is_no_preset_is_answered_with_the_list",
}
KINDS = ("scheduler", *_FILES)


def _files(kind: str) -> dict[str, str]:
    # The new files of a kind by path.
    if kind == "scheduler":
        return {"emu/schedulers/added_here.py": _SCHEDULER}
    found = {}
    for name, (model, *changes) in _FILES[kind].items():
        text = (_ROOT / model).read_text()
        for old, new in changes:
            assert old in text, f"{model}: {old!r} is not in it any more; change this test"
            text = text.replace(old, new)
        found[name] = text
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the conformance suites need."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("emu", "asm", "tests", "tools", "docs", "examples"):
        shutil.copytree(_ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / "pyproject.toml", copy)
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_adds_one_more_and_its_conformance_suite_takes_it(kind: str, tree: Path) -> None:
    files = _files(kind)
    assert len(files) == (2 if kind == "design" else 1)
    for name, text in files.items():
        assert not (tree / name).exists()
        (tree / name).write_text(text)
    try:
        assert re.search(r"\b\d+ passed", _pytest(tree, f"conformance/test_{kind}.py", "-k", _NAME))
        if kind != "lookup":
            _run_tool(tree, "tools/choices")
            assert f"| `{_NAME}` |" in (tree / "docs/choices.md").read_text()
        if kind in _ALSO:
            _pytest(tree, _ALSO[kind])
    finally:
        for name in files:
            (tree / name).unlink()


def test_a_file_that_lacks_something_is_refused_there(tree: Path) -> None:
    """The suite of the copy runs the copy."""
    broken = tree / "emu/schedulers/added_here.py"
    broken.write_text(_SCHEDULER.replace("SCHEDULER = Next", ""))
    try:
        said = _run(tree, "conformance/test_scheduler.py")
    finally:
        broken.unlink()
    assert said.returncode != 0
    assert "added_here.py: defines neither SCHEDULER nor scheduler" in said.stdout


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    test, *options = arguments
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        f"tests/{test}",
        *options,
    ]
    environment = {**_environment(tree), "PYTHONPATH": str(tree)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def _run_tool(tree: Path, name: str) -> None:
    run_program(sys.executable, name, cwd=tree, env=_environment(tree))


def _environment(tree: Path) -> dict[str, str]:
    # What all processes compile alike they compile once, in a folder beside the tree.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    compiled = str(tree.with_name("compiled"))
    return {**kept, "PYTHONPYCACHEPREFIX": compiled, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _pytest(tree: Path, *arguments: str) -> str:
    done = _run(tree, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
