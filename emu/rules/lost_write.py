"""Stores that are gone: a dirty line was written back over them, or their line was invalidated."""

from __future__ import annotations

from emu.finding import PA, Finding, Word, each_once
from emu.operation import STORES, Kind
from emu.rules.bytes_stored import BytesStored, Stored
from emu.trace import Trace

NAME = "lost-write"
SEES = "model"
WORDS = {"lost": "CPU{cpu} stored {value} at {at} into the u64 at {pa}, and it is lost"}
IDENTITY = ("value", "pa")
FIX = {
    "lost": "give what CPU{cpu} stores at {pa:#x} a writeback granule of its own, or clean and invalidate "
    "the line before it is stored to with other memory attributes"
}
_KINDS = frozenset({*STORES, Kind.LOST})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each store that nobody can see any more although nobody stored over it."""
    found: list[Finding] = []
    if not trace.has(Kind.LOST):
        return found
    for boot, rows in enumerate(trace.numbered_boots(_KINDS)):
        stores = BytesStored()  # CPUs have other numbers in another boot
        for number, (kind, size, cpu, pc, pa, value) in rows:
            if kind in STORES:
                stores.add(Stored(number, cpu, pc, pa, size, value))
                continue
            for lost in sorted(set(stores.of_value(pa, 8, value))):
                data = {
                    "cpu": lost.cpu,
                    "value": Word(lost.value),
                    "at": trace.place(lost.pc),
                    "pa": PA(pa),
                }
                records = lost.record, number
                found.append(Finding.of(NAME, "lost", (lost.cpu,), data, records, boot))
    return each_once(found)
