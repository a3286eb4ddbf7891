"""What comes with the code: the man page, completion in a shell, the source distribution."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import click
import pytest
from programs import run_program

from emu.cli import cli

_ROOT = Path(__file__).parents[2]
_MACROS = {".TH", ".SH", ".SS", ".PP", ".TP", ".B"}


@pytest.fixture(scope="module")
def page() -> str:
    return run_program(sys.executable, "tools/manpage", cwd=_ROOT).stdout


def test_the_man_page_has_every_command_and_option(page: str) -> None:
    top = click.Context(cli)
    plain = page.replace("\\-", "-")
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        section = re.split(r"^\.S[SH] ", plain.partition(f'.SS "emu {name} ')[2], flags=re.M)[0]
        assert section
        for parameter in command.params:
            for spelt in parameter.opts if isinstance(parameter, click.Option) else ():
                assert spelt in section, f"{name} {spelt}"


def test_the_man_page_is_roff(page: str) -> None:
    """Each request is one that man has, and no text is taken for one."""
    for line in page.splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split()[0] in _MACROS, line
        assert not re.search(r"\\(?![-e&(])", line), line
        assert line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bo",), {"boot"}),
        (("boot", "--scheduler", "r"), {"random", "replay", "round-robin"}),
        (("explore", "--memory", "c"), {"caches", "coherent"}),
        (("boot", "v"), {"v2", "v3", "v"}),  # and files that begin so
        (("lookup", "rf"), {"rfc", "rf"}),
        (("boot", "--topology", "sm"), {"smt", "sm"}),
        (("boot", "--sched"), {"--scheduler"}),
    ],
)
def test_a_shell_completes_names(words: tuple[str, ...], expected: set[str]) -> None:
    environment = {**os.environ, "COMP_WORDS": " ".join(("emu", *words)), "COMP_CWORD": str(len(words))}
    environment["_EMU_COMPLETE"] = "bash_complete"
    command = [sys.executable, "-m", "emu"]
    done = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=True)
    found = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert found >= expected
    assert all(name.startswith(words[-1]) for name in found)


def test_the_source_distribution_has_docs_examples_and_tests(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", ".git", ".hypothesis", "*.egg-info")
    shutil.copytree(_ROOT, tree, ignore=ignore)
    code = "import sys, setuptools.build_meta as meta; print(meta.build_sdist(sys.argv[1]))"
    done = run_program(sys.executable, "-c", code, str(tmp_path), cwd=tree)
    name = done.stdout.splitlines()[-1]
    with tarfile.open(tmp_path / name) as archive:
        files = {member.partition("/")[2] for member in archive.getnames()}
    ours = (
        set(run_program("git", "ls-files", cwd=_ROOT).stdout.split()) if (_ROOT / ".git").exists() else set()
    )
    wanted = {"docs/ci.md", "examples/my_boot.S", "asm/lookup/v3.S", "emu/cli/boot.py", "LICENSE", "Makefile"}
    left_out = {file for file in ours if not file.startswith((".ci/", ".gitignore"))} - files
    assert not (wanted | left_out) - files
    assert not any("__pycache__" in file for file in files)
