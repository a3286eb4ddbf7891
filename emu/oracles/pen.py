"""Whether a loader overwrites a holding pen that CPUs still execute in.

A CPU that was never released spins in the first kernel's ``secondary_holding_pen``; spin-table has no way to
take it out. Whoever copies another image there changes the code under its feet. Judged from where every CPU
was when the first boot ended (OUTCOME), where its pen is (EXPECT) and what was copied then (COPY).
"""

from __future__ import annotations

from emu.case import Case
from emu.operation import Expect, Kind
from emu.trace import Trace
from emu.verdict import Finding

NAME = "pen"


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU in a pen and each copy over that pen."""
    hwids: dict[int, int] = {}
    at: dict[int, int] = {}  # PC of each CPU, PA while its MMU is off
    pen = range(0)
    findings = []
    for kind, size, cpu, pc, pa, value in trace.rows():
        if kind == Kind.EXPECT and size == Expect.HWID:
            hwids[cpu] = value
        elif kind == Kind.EXPECT and size == Expect.PEN:
            pen = range(value, pa)
        elif kind == Kind.OUTCOME:
            at[cpu] = pc
        elif kind in (Kind.POWER_OFF, Kind.LAND):
            at.pop(cpu, None)
        elif kind == Kind.REENTRY:
            at.clear()
        elif kind == Kind.COPY and pa < pen.stop and pen.start < pa + value:
            what = f"{_subject(case)}, {pa:#x}..{pa + value:#x}, at {trace.location(pc)}"
            where = f"{pen.start:#x}..{pen.stop:#x}"
            for occupant in sorted(number for number, place in at.items() if place in pen):
                message = (
                    f"CPU{occupant} (hwid {hwids[occupant]:#x}) still spins in secondary_holding_pen at PA "
                    f"{at[occupant]:#x} ({where}), which CPU{cpu} overwrites with {what}"
                )
                findings.append(Finding(NAME, message, (occupant, cpu), case))
    return findings


def _subject(case: str) -> str:
    # What is copied, as the case names it.
    return Case.parse(case).kexec.rpartition("@")[0] or Case.parse(case).kexec
