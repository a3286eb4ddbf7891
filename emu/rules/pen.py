"""Whether a loader overwrites a holding pen that CPUs still execute in.

A CPU that was never released spins in the first kernel's ``secondary_holding_pen``; spin-table has no way to
take it out. So does one that is stuck in the kernel, where its MMU was not to be switched on. A copy of
another image over that loop changes the code that they execute. Judged from where every CPU was when the
first boot ended (OUTCOME), where these loops are (EXPECT) and what was copied then (NEXT_BOOT, COPY).
"""

from __future__ import annotations

from emu.finding import PA, Finding, Word
from emu.operation import Expect, Kind
from emu.trace import Trace

NAME = "pen"
SEES = "kexec"
WORDS = {
    "overwritten": "CPU{cpu} (hwid {hwid}) still spins in {loop} at {pa} ({first:#x}..{behind:#x}), which "
    "CPU{writer} overwrites with {image}, {copy_first:#x}..{copy_behind:#x}, at {at}"
}
_LOOPS = {
    Expect.PEN: "secondary_holding_pen",
    Expect.STUCK_52_BIT_VA: "__cpu_secondary_check52bitva",
    Expect.STUCK_NO_GRAN: "__no_granule_support",
}
_KINDS = frozenset(
    {Kind.EXPECT, Kind.OUTCOME, Kind.POWER_OFF, Kind.LAND, Kind.REENTRY, Kind.NEXT_BOOT, Kind.COPY}
)


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU in such a loop and each copy over that loop."""
    hwids: dict[int, int] = {}
    at: dict[int, tuple[int, int]] = {}  # PC of each CPU, PA while its MMU is off, and the record
    loops: dict[str, range] = {}
    image = ""
    found: list[Finding] = []
    for number, (kind, size, cpu, pc, pa, value) in trace.numbered(_KINDS):
        if kind == Kind.EXPECT and size == Expect.HWID:
            hwids[cpu] = value
        elif kind == Kind.EXPECT and size in _LOOPS:
            loops[_LOOPS[Expect(size)]] = range(value, pa)
        elif kind == Kind.OUTCOME:
            at[cpu] = (pc, number)
        elif kind in (Kind.POWER_OFF, Kind.LAND):
            at.pop(cpu, None)
        elif kind == Kind.REENTRY:
            at.clear()
            loops.clear()
        elif kind == Kind.NEXT_BOOT:
            image = trace.strings[value]
        elif kind == Kind.COPY:
            for name, loop in loops.items():
                if pa >= loop.stop or pa + value <= loop.start:
                    continue
                for occupant in sorted(who for who, (place, _) in at.items() if place in loop):
                    found.append(
                        Finding.of(
                            NAME,
                            "overwritten",
                            (occupant, cpu),
                            {
                                "cpu": occupant,
                                "hwid": Word(hwids[occupant]),
                                "loop": name,
                                "pa": PA(at[occupant][0]),
                                "first": PA(loop.start),
                                "behind": PA(loop.stop),
                                "writer": cpu,
                                "image": image,
                                "copy_first": PA(pa),
                                "copy_behind": PA(pa + value),
                                "at": trace.place(pc),
                            },
                            (at[occupant][1], number),
                        )
                    )
    return found
