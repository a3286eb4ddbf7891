"""Every command that shows something, at the first, a middle, the kexec and the last position, both ways.

What it shows is the same forwards and backwards, and what can be computed from the trace alone is compared
with that: stores, the log, who acts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from emu.case import Case
from emu.debug.session import Session
from emu.host.build import build
from emu.operation import STORES, Kind

_CASES = {
    "coherent": ("v3 topology=flat:3", ["v3", "--cpus", "3"]),
    "caches": (
        "v3 topology=flat:3 memory=caches fault=2:no-clean",
        ["v3", "--cpus", "3", "--memory", "caches", "--fault", "2:no-clean"],
    ),
    "kexec": ("v3 topology=flat:3 kexec=v3@1", ["v3", "--cpus", "3", "--kexec", "v3@1"]),
    "random": (
        "mainline topology=flat:3 scheduler=random:3 enable-method=spin-table",
        ["mainline", "--cpus", "3", "--scheduler", "random:3", "--enable-method", "spin-table"],
    ),
}
_WORDS = ("ap_sync_state[1]", "cpu_online[2]", "__boot_cpu_mode+4", "cpu_running")
_SHOW = ("where", "cpus", "regs cpu 1", "backtrace", "data", "dmesg", "log 5", "info breakpoints", "findings")
_LOOKS = [*_SHOW, *(f"{command} {word}" for word in _WORDS for command in ("x", "who-wrote", "watch"))]


@dataclass(frozen=True, slots=True)
class Straight:
    """A run without a debugger's commands: its trace, and how many rows it has at each position."""

    session: Session
    rows: list[int]

    def last_store(self, pa: int, size: int, position: int) -> tuple[int, int] | None:
        """Return (position, value) of the last store to exactly these bytes, from the trace alone."""
        trace = self.session.machine.trace
        for at in range(position - 1, -1, -1):
            for index in reversed(range(self.rows[at], self.rows[at + 1])):
                kind, width, _cpu, _pc, found, value = trace.row(index)
                if kind in STORES and (found, width) == (pa, size):
                    return at, value
                if kind == Kind.COPY and found < pa + size and pa < found + value:
                    return None
        return None

    def log(self, position: int) -> list[str]:
        """Return the lines of the kernel's log up to a position."""
        trace = self.session.machine.trace
        rows = map(trace.row, range(self.rows[position]))
        return [trace.strings[row[5]] for row in rows if row[0] == Kind.LOG]


def _straight(text: str) -> Straight:
    session = Session(build(Case.parse(text)))
    rows = [len(session.machine.trace)]
    while session.run_to(session.position + 1).reason != "end":
        rows.append(len(session.machine.trace))
    return Straight(session, rows)


def _positions(run: Straight) -> list[int]:
    last = run.session.position
    trace = run.session.machine.trace
    reentry = next(
        (
            at
            for at in range(last)
            if any(trace.row(i)[0] == Kind.REENTRY for i in range(run.rows[at], run.rows[at + 1]))
        ),
        last // 3,
    )
    return sorted({0, last // 2, reentry, reentry + 1, last})


def _said(text: str) -> list[tuple[str, list[str]]]:
    parts = [part.splitlines() for part in text.split("(emu) ")[1:]]
    return [
        (
            part[0],
            [line for line in part[1:] if not re.match(r"(case: |pass|fail|undecided|finding|  +\w)", line)],
        )
        for part in parts
    ]


@pytest.mark.parametrize("name", _CASES)
def test_what_is_shown_is_the_same_both_ways_and_is_what_the_trace_has(name: str) -> None:
    text, options = _CASES[name]
    run = _straight(text)
    positions = _positions(run)
    script: list[str] = []
    for position in (*positions, *positions[::-1]):
        script += [f"goto {position}", "cpu 0", *_LOOKS, "delete"]
    command = [sys.executable, "-m", "emu", "step", *options, "--script", "-"]
    done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    said = _said(done.stdout)
    assert [line for line, _ in said] == script
    length = len(_LOOKS) + 3
    blocks = [said[at : at + length] for at in range(0, len(said), length)]
    for position, forwards, backwards in zip(positions, blocks, blocks[::-1], strict=False):
        assert forwards[1][1] == backwards[1][1]
        for (line, ahead), (_, back) in zip(forwards[2:], backwards[2:], strict=True):
            if not line.startswith(("watch", "regs", "where")):  # numbers and marks go on
                assert ahead == back, (position, line)
        _compare(run, position, dict(forwards))


def _compare(run: Straight, position: int, shown: dict[str, list[str]]) -> None:
    stamped = [re.sub(r"^\[ *[\d.]+\] ", "", line) for line in shown["dmesg"]]
    assert stamped == (run.log(position) or ["nothing yet"])
    for word in _WORDS:
        found = run.last_store(*run.session.places.data(word), position)
        if found is None:
            continue
        at, value = found
        assert shown[f"who-wrote {word}"][1].startswith(f"  #{at} "), (position, word)
        assert f" stored {value:#x}" in shown[f"who-wrote {word}"][1]
        assert int(shown[f"x {word}"][0].split(": ")[1].split()[0], 16) == value
