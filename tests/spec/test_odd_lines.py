"""Odd lines at ``emu step``: each command of the table ends in an answer or in one line that refuses it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_lines import odd_lines, outcome, write_files

from emu.case import Case
from emu.debug.commands import _ENTRIES, Commands
from emu.debug.opening import session_of, target_of

ROOT = Path(__file__).resolve().parents[2]
_SEED = os.environ.get("EMU_ODD_SEED", "0")
_COUNT = int(os.environ.get("EMU_ODD_LINES", "3"))  # for each command at each position; by hand hundreds
_CASES = (
    "v3 topology=flat:3 grain=instruction",
    "v3 topology=flat:3 memory=caches fault=2:no-clean grain=instruction",
    "mainline topology=smt:4 firmware=acpi enable-method=parking-protocol grain=instruction",
    "rfc topology=flat:3 el=2 kexec=v3@1 grain=instruction",
)
# Lines that lead to where the odd ones are given: where nothing has run, where the CPU is off or has no host
# task, and where nothing can run any more.
_POSITIONS = {
    "start": (),
    "off": ("step 2", "cpu 1"),
    "guest": ("until secondary_startup",),
    "end": ("continue",),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _commands(case: str, position: str) -> Commands:
    commands = Commands(session_of(target_of(Case.parse(case))))
    for line in _POSITIONS[position]:
        commands.run(line)
    return commands


def _mixed(seed: str) -> list[str]:
    rng = random.Random(f"{seed} {_SEED}")
    lines = list(odd_lines(rng, _COUNT))
    rng.shuffle(lines)  # what one leaves behind, such as a breakpoint, others of its kind seldom see else
    return lines


@pytest.mark.parametrize("position", _POSITIONS)
@pytest.mark.parametrize("case", _CASES)
def test_an_odd_line_is_answered_or_refused_in_one_line(case: str, position: str, folder: Path) -> None:
    commands, answered = _commands(case, position), 0
    for line in _mixed(f"{case} {position}"):
        said = outcome(commands, line)
        assert all(len(row.splitlines()) < 2 for row in said or ()), line
        answered += said is not None
    assert answered > len(_ENTRIES) // 2


@pytest.mark.parametrize(
    ("case", "position", "seed"),
    [
        ("topology=flat:3 grain=instruction", "guest", "a kernel"),
        ("topology=flat:2 depth=whole", "start", "whole"),
    ],
)
def test_an_odd_line_of_a_kernel_is_answered_or_refused(
    case: str, position: str, seed: str, folder: Path, real_kernel: Callable[[str], Path]
) -> None:
    commands = _commands(f"{real_kernel('EMU_KERNEL_SMALL')} {case}", position)
    for line in _mixed(seed):
        outcome(commands, line)


@pytest.mark.parametrize("way", ["--script s", "--script - < s", "--script - < <(cat s)"])
def test_a_script_of_odd_lines_goes_on_or_ends_in_one_line(way: str, folder: Path) -> None:
    """In processes, which go back in time, and end where a line is refused."""
    command = f"exec {sys.executable} -m emu step v3 --cpus 3 --memory caches {way}"
    lines = _mixed(way)
    for _ in range(_COUNT):
        (folder / "s").write_text("\n".join(("until secondary_startup", *lines[:200])))
        ran = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
        said = ran.stderr.decode()
        assert ran.returncode in (0, 1, 2, 125), said[-500:]
        assert "Traceback" not in said
        if ran.returncode != 2:
            return
        assert len(said.splitlines()) == 1, said[-500:]
        refused = re.search(r"emu: (?:s|standard input):(\d+): ", said)
        assert refused is not None, said[-500:]
        lines = lines[int(refused[1]) - 1 :]  # from behind the line that it ended at
