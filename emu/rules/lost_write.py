"""Stores that are gone: a dirty line was written back over them, or their line was invalidated."""

from __future__ import annotations

from emu.finding import PA, Finding, Word, each_once
from emu.operation import Kind
from emu.trace import Trace

NAME = "lost-write"
SEES = "model"
WORDS = {"lost": "CPU{cpu} stored {value} at {at} into the u64 at {pa}, and it is lost"}
FIX = {
    "lost": "give what CPU{cpu} stores at {pa:#x} a writeback granule of its own, or clean and invalidate "
    "the line before it is stored to with other memory attributes"
}


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each store that nobody can see any more although nobody stored over it."""
    writers: dict[int, tuple[int, int, int, int]] = {}  # byte to CPU, PC, value, record of the newest store
    found: list[Finding] = []
    for number, (kind, size, cpu, pc, pa, value) in enumerate(trace.rows()):
        if kind == Kind.STORE:
            writers.update({pa + at: (cpu, pc, value, number) for at in range(size)})
        elif kind == Kind.LOST:
            lost = {writers[pa + at] for at in range(8) if pa + at in writers}
            for who, where, what, stored in sorted(lost):
                data = {"cpu": who, "value": Word(what), "at": trace.place(where), "pa": PA(pa)}
                found.append(Finding.of(NAME, "lost", (who,), data, (stored, number)))
    return each_once(found)
