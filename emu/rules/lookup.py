"""The table that secondaries scan: the first entry with a CPU's hwid must be its own.

Judged from what the table holds when the boot CPU has filled it, whatever the loop over it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.arch.mpidr import INVALID_HWID
from emu.finding import Finding, Word
from emu.operation import Expect, Kind
from emu.trace import Trace

NAME = "lookup"
WORDS = {
    "in-no-entry": "CPU{cpu}: its hwid {hwid} is in no entry of {table}",
    "another-entry": "CPU{cpu}: entry {entry} of {table} holds its hwid {hwid}, not CPU{entry}'s {own}: the "
    "look-up stops there and takes CPU{entry}'s slot",
}
_KINDS = frozenset({Kind.EXPECT, Kind.TABLE})


@dataclass(slots=True)
class _Boot:
    hwids: dict[int, int] = field(default_factory=dict)
    secondaries: set[int] = field(default_factory=set)
    name: str = ""
    entries: list[tuple[int, int]] = field(default_factory=list)  # value, and number of the record


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each healthy secondary that the table leads elsewhere, or nowhere."""
    boots = [_Boot()]
    for number, (kind, size, actor, pc, _pa, value) in trace.numbered(_KINDS):
        boot = boots[-1]
        if kind == Kind.EXPECT:
            if boot.entries:  # a boot after that one
                boot = _Boot()
                boots.append(boot)
            if size == Expect.HWID:
                boot.hwids[actor] = value
            elif size == Expect.SECONDARY and value:
                boot.secondaries.add(actor)
            elif size == Expect.FAULTY and value:
                boot.secondaries.discard(actor)
        elif kind == Kind.TABLE:
            boot.name = trace.strings[pc]
            boot.entries.append((value, number))
    return [finding for number, boot in enumerate(boots) if boot.entries for finding in _misled(boot, number)]


def _misled(boot: _Boot, number: int) -> Iterator[Finding]:
    first: dict[int, int] = {}
    for index, (value, _record) in enumerate(boot.entries):
        first.setdefault(value, index)
    for cpu in sorted(boot.secondaries):
        hwid = boot.hwids[cpu]
        stop = first.get(hwid)
        if hwid == INVALID_HWID or stop == cpu:
            continue
        if stop is None:
            yield Finding.of(
                NAME, "in-no-entry", (cpu,), {"cpu": cpu, "hwid": Word(hwid), "table": boot.name}, boot=number
            )
            continue
        yield Finding.of(
            NAME,
            "another-entry",
            (cpu,),
            {
                "cpu": cpu,
                "entry": stop,
                "table": boot.name,
                "hwid": Word(hwid),
                "own": Word(boot.hwids[stop]),
            },
            (boot.entries[stop][1],),
            number,
        )
