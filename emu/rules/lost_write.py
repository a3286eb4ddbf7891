"""Stores that are gone: a dirty line was written back over them, or their line was invalidated."""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "lost-write"
SEES = "caches"


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each store that nobody can see any more although nobody stored over it."""
    writers: dict[int, tuple[int, int, int]] = {}  # byte to CPU, PC and value of the newest store
    found: dict[str, Finding] = {}
    for kind, size, cpu, pc, pa, value in trace.rows():
        if kind == Kind.STORE:
            writers.update({pa + at: (cpu, pc, value) for at in range(size)})
        elif kind == Kind.LOST:
            lost = {writers[pa + at] for at in range(8) if pa + at in writers}
            for who, where, what in sorted(lost):
                place = trace.where(where)
                message = f"CPU{who} stored {what:#x} at {place} into the u64 at PA {pa:#x}, and it is lost"
                found.setdefault(message, Finding(NAME, message, (who,), case))
    return list(found.values())
