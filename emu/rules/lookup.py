"""The table that secondaries scan: the first entry with a CPU's hwid must be its own.

Judged from what the table holds when the boot CPU has filled it, whatever the loop over it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.arch.mpidr import INVALID_HWID
from emu.finding import Finding
from emu.operation import Expect, Kind
from emu.trace import Trace

NAME = "lookup"


@dataclass(slots=True)
class _Boot:
    hwids: dict[int, int] = field(default_factory=dict)
    secondaries: set[int] = field(default_factory=set)
    name: str = ""
    entries: list[int] = field(default_factory=list)


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each healthy secondary that the table leads elsewhere, or nowhere."""
    boots = [_Boot()]
    for kind, size, actor, pc, _pa, value in trace.rows():
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
            boot.entries.append(value)
    return [
        Finding(NAME, message, (cpu,), case)
        for boot in boots
        for cpu, message in _misled(boot)
        if boot.entries
    ]


def _misled(boot: _Boot) -> list[tuple[int, str]]:
    first: dict[int, int] = {}
    for number, value in enumerate(boot.entries):
        first.setdefault(value, number)
    found = []
    for cpu in sorted(boot.secondaries):
        hwid = boot.hwids[cpu]
        stop = first.get(hwid)
        if hwid == INVALID_HWID or stop == cpu:
            continue
        if stop is None:
            found.append((cpu, f"CPU{cpu}: its hwid {hwid:#x} is in no entry of {boot.name}"))
            continue
        message = (
            f"CPU{cpu}: entry {stop} of {boot.name} holds its hwid {hwid:#x}, not CPU{stop}'s "
            f"{boot.hwids[stop]:#x}: the look-up stops there and takes CPU{stop}'s slot"
        )
        found.append((cpu, message))
    return found
