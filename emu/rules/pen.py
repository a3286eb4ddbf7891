"""Whether a loader overwrites a holding pen that CPUs still execute in.

A CPU that was never released spins in the first kernel's ``secondary_holding_pen``; spin-table has no way to
take it out. So does one that is stuck in the kernel, where its MMU was not to be switched on. Whoever copies
another image there changes the code under its feet. Judged from where every CPU was when the first boot ended
(OUTCOME), where these loops are (EXPECT) and what was copied then (COPY).
"""

from __future__ import annotations

from emu.case import Case
from emu.finding import Finding
from emu.operation import Expect, Kind
from emu.trace import Trace

NAME = "pen"

_LOOPS = {
    Expect.PEN: "secondary_holding_pen",
    Expect.STUCK_52_BIT_VA: "__cpu_secondary_check52bitva",
    Expect.STUCK_NO_GRAN: "__no_granule_support",
}


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU in such a loop and each copy over that loop."""
    hwids: dict[int, int] = {}
    at: dict[int, int] = {}  # PC of each CPU, PA while its MMU is off
    loops: dict[str, range] = {}
    findings = []
    for kind, size, cpu, pc, pa, value in trace.rows():
        if kind == Kind.EXPECT and size == Expect.HWID:
            hwids[cpu] = value
        elif kind == Kind.EXPECT and size in _LOOPS:
            loops[_LOOPS[Expect(size)]] = range(value, pa)
        elif kind == Kind.OUTCOME:
            at[cpu] = pc
        elif kind in (Kind.POWER_OFF, Kind.LAND):
            at.pop(cpu, None)
        elif kind == Kind.REENTRY:
            at.clear()
            loops.clear()
        elif kind == Kind.COPY:
            what = f"{_subject(case)}, {pa:#x}..{pa + value:#x}, at {trace.location(pc)}"
            for name, loop in loops.items():
                if pa >= loop.stop or pa + value <= loop.start:
                    continue
                for occupant in sorted(number for number, place in at.items() if place in loop):
                    message = (
                        f"CPU{occupant} (hwid {hwids[occupant]:#x}) still spins in {name} at PA "
                        f"{at[occupant]:#x} ({loop.start:#x}..{loop.stop:#x}), which CPU{cpu} overwrites "
                        f"with {what}"
                    )
                    findings.append(Finding(NAME, message, (occupant, cpu), case))
    return findings


def _subject(case: str) -> str:
    # What is copied, as the case names it.
    return Case.parse(case).kexec.rpartition("@")[0] or Case.parse(case).kexec
