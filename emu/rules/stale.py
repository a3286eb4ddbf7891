"""Stale reads: a CPU's last look at some bytes gave an old value, because a newer one lay in the caches.

Or in memory, behind a copy in the caches. A CPU that looks again and gets the newer value was only early.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emu.finding import PA, Finding, Value, Word
from emu.operation import STORES, Kind
from emu.rules.bytes_stored import BytesStored, Stored
from emu.trace import Row, Trace

NAME = "stale"
SEES = "model"
_READ = "CPU{cpu} at {at} read {got} from {pa}, which is stale: {newer} "
WORDS = {
    "stored-by-another": _READ + "was stored by CPU{writer} at {stored_at}",
    "newer-value": _READ + "was there",
}
IDENTITY = ("cpu", "pa", "got", "newer")
FIX = {
    "stored-by-another": "CPU{writer} cleans the line of {pa:#x} to the PoC (DC CVAC or DC CIVAC, then DSB) "
    "behind its store at {stored_at}, before it tells CPU{cpu}; or, if it is CPU{writer} whose caches are "
    "off, CPU{cpu} invalidates the line first"
}
_LOADS = (Kind.LOAD, Kind.LOAD_EXCLUSIVE)


@dataclass(slots=True)
class _Look:
    newer: int
    got: int
    pc: int
    record: int
    writer: Stored | None  # the last of the stores then that the newer value is of


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and place whose last look was stale."""
    if not trace.has(Kind.STALE):
        return []
    return [
        found for boot, rows in enumerate(trace.numbered_boots()) for found in _of_boot(trace, boot, rows)
    ]


def _of_boot(trace: Trace, boot: int, rows: Iterable[tuple[int, Row]]) -> list[Finding]:
    # CPUs have other numbers in another boot: what was stored before it is told without who has.
    looks: dict[tuple[int, int, int], _Look | None] = {}  # CPU, PA, size
    stores = BytesStored()
    pending: dict[tuple[int, int, int], int] = {}
    for number, (kind, size, cpu, pc, pa, value) in rows:
        if kind == Kind.STALE:
            pending[cpu, pa, size] = value
        elif kind in _LOADS:
            newer = pending.pop((cpu, pa, size), None)
            if newer is not None:
                writer = max(stores.of_value(pa, size, newer, unlike=value), default=None)
                looks[cpu, pa, size] = _Look(newer, value, pc, number, writer)
            elif (cpu, pa, size) in looks:
                looks[cpu, pa, size] = None
        elif kind in STORES:
            stores.add(Stored(number, cpu, pc, pa, size, value))
    last = ((cpu, pa, look) for (cpu, pa, _size), look in looks.items() if look is not None)
    return [_finding(trace, boot, *each) for each in last]


def _finding(trace: Trace, boot: int, cpu: int, pa: int, look: _Look) -> Finding:
    data: dict[str, Value] = {
        "cpu": cpu,
        "at": trace.place(look.pc),
        "got": Word(look.got),
        "pa": PA(pa),
        "newer": Word(look.newer),
    }
    writer = look.writer
    if writer is None or writer.cpu == cpu:
        return Finding.of(NAME, "newer-value", (cpu,), data, (look.record,), boot)
    data |= {"writer": writer.cpu, "stored_at": trace.place(writer.pc)}
    records = writer.record, look.record
    return Finding.of(NAME, "stored-by-another", (cpu, writer.cpu), data, records, boot)
