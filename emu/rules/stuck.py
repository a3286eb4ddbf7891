"""Lost wake-ups and livelocks: a CPU that sleeps for ever although it would go on, or goes round for ever.

An exploration that has come to where nobody can move looks what each sleeper would do if it were woken.
"""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "stuck"
SEES = "states"


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each such CPU."""
    found: list[Finding] = []
    stores: dict[int, tuple[int, int, int]] = {}  # byte to number of the record, CPU, PC
    sent = (-1, -1, -1)  # of the last SEV
    for number, (kind, size, cpu, pc, pa, _value) in enumerate(trace.rows()):
        if kind in (Kind.STORE, Kind.ATOMIC):
            stores.update({pa + at: (number, cpu, pc) for at in range(size)})
        elif kind == Kind.SEV:
            sent = (number, cpu, pc)
        elif kind == Kind.LOST_WAKEUP:
            message = f"CPU{cpu} sleeps in WFE at PC {pc:#x} for ever, although it would go on"
            others: tuple[int, ...] = ()
            if pa in stores:
                stored, who, where = stores[pa]
                message += f": CPU{who} has stored to PA {pa:#x} at {trace.where(where)}"
                message += _missing(trace, stored, sent)
                others = (who,) if who != cpu else ()
            found.append(Finding(NAME, message, (cpu, *others), case))
        elif kind == Kind.LIVELOCK:
            word = f", looking at PA {pa:#x}" if pa else ""
            message = f"CPU{cpu} goes round for ever at PC {pc:#x}{word}: nobody makes progress"
            found.append(Finding(NAME, message, (cpu,), case))
    return found


def _missing(trace: Trace, stored: int, sent: tuple[int, int, int]) -> str:
    # What should have woken it: no SEV behind the store, or one that came too early.
    number, who, where = sent
    if number > stored:
        return f", and the SEV that CPU{who} sent at {trace.where(where)} was spent before it slept"
    if number >= 0:
        return f"; the last SEV, by CPU{who} at {trace.where(where)}, came before that store"
    return "; no SEV follows"
