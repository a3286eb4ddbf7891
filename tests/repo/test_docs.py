"""What README and docs show is what the commands print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_emu

ROOT = Path(__file__).resolve().parents[2]
_LINE_NUMBER = re.compile(r"\.py:\d+")  # the prose has N for it: it changes with the code


def examples() -> list[tuple[str, str, list[str]]]:
    """Every ``$ emu ...`` of the prose with the output that stands below it."""
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        command, shown = "", []
        for line in [*path.read_text().splitlines(), ""]:
            if line.startswith("    $ emu "):
                command, shown = line.removeprefix("    $ emu "), []
            elif command and (line.startswith("    ") or not line):
                shown.append(line.removeprefix("    "))
            elif command:
                found.append((path.name, command, shown))
                command = ""
        if command:
            found.append((path.name, command, shown))
    return found


@pytest.mark.parametrize(("where", "command", "shown"), examples())
def test_example_prints_what_is_shown(where: str, command: str, shown: list[str]) -> None:
    """Lines in order; ``...`` stands for any lines between."""
    words = shlex.split(command)
    if words[0] in ("step", "gdb"):  # their processes print
        command_line = [sys.executable, "-m", "emu", *words]
        done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    else:
        done = run_emu(*words)
    printed = [_LINE_NUMBER.sub(".py:N", line.rstrip()) for line in done.stdout.splitlines()]
    at, skipping = 0, False
    for line in (line for line in shown if line):
        if line == "...":
            skipping = True
            continue
        wanted = line.rstrip()
        rest = [index for index in range(at, len(printed)) if printed[index]]
        candidates = rest if skipping else rest[:1]
        match = next((index for index in candidates if printed[index] == wanted), None)
        assert match is not None, f"{where}: emu {command}: does not print {wanted!r} there"
        at, skipping = match + 1, False


def test_there_are_examples_to_check() -> None:
    assert len(examples()) >= 4


def test_readme_is_short() -> None:
    """What is more goes to docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
