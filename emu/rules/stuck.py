"""Lost wake-ups and livelocks: a CPU that sleeps for ever although it would go on, or goes round for ever.

An exploration that has come to where no CPU can move looks what each sleeper would do if it were woken.
"""

from __future__ import annotations

from emu.finding import PA, PC, Finding, Value
from emu.operation import STORES, Kind
from emu.trace import Trace

NAME = "stuck"
SEES = "states"
MARKS = frozenset({Kind.LOST_WAKEUP, Kind.LIVELOCK})
_SLEEPS = "CPU{cpu} sleeps in WFE at {pc} for ever, although it would go on"
_STORED = _SLEEPS + ": CPU{writer} has stored to {pa} at {stored_at}"
WORDS = {
    "asleep": _SLEEPS,
    "no-sev": _STORED + "; no SEV follows",
    "sev-before-store": _STORED + "; the last SEV, by CPU{sender} at {sent_at}, came before that store",
    "sev-spent": _STORED + ", and the SEV that CPU{sender} sent at {sent_at} was spent before it slept",
    "livelock": "CPU{cpu} goes round for ever at {pc}: nobody makes progress",
    "livelock-on-word": "CPU{cpu} goes round for ever at {pc}, looking at {pa}: nobody makes progress",
}
FIX = {
    "asleep": "look at the word before the first WFE",
    "no-sev": "SEV behind the store (and a DSB between the two)",
    "sev-before-store": "SEV behind that store, with a DSB between the two",
    "sev-spent": "look at the word before each WFE, not after the first one",
}
_KINDS = frozenset({*STORES, Kind.SEV, Kind.LOST_WAKEUP, Kind.LIVELOCK})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each such CPU."""
    found: list[Finding] = []
    if not trace.has(Kind.LOST_WAKEUP, Kind.LIVELOCK):
        return found
    stores: dict[int, tuple[int, int, int]] = {}  # byte to number of the record, CPU, PC
    sent = (-1, -1, -1)  # of the last SEV
    for number, (kind, size, cpu, pc, pa, _value) in trace.numbered(_KINDS):
        if kind in STORES:
            stores.update({pa + at: (number, cpu, pc) for at in range(size)})
        elif kind == Kind.SEV:
            sent = (number, cpu, pc)
        elif kind == Kind.LOST_WAKEUP:
            found.append(_lost_wakeup(trace, number, cpu, pc, pa, stores.get(pa), sent))
        elif kind == Kind.LIVELOCK:
            data: dict[str, Value] = {"cpu": cpu, "pc": PC(pc), **({"pa": PA(pa)} if pa else {})}
            what = "livelock-on-word" if pa else "livelock"
            found.append(Finding.of(NAME, what, (cpu,), data, (number,)))
    return found


def _lost_wakeup(
    trace: Trace,
    number: int,
    cpu: int,
    pc: int,
    pa: int,
    store: tuple[int, int, int] | None,
    sent: tuple[int, int, int],
) -> Finding:
    # What should have woken it: no SEV behind the store, or one that came too early.
    data: dict[str, Value] = {"cpu": cpu, "pc": PC(pc)}
    if store is None:
        return Finding.of(NAME, "asleep", (cpu,), data, (number,))
    stored, writer, where = store
    data |= {"writer": writer, "pa": PA(pa), "stored_at": trace.place(where)}
    cpus = (cpu, writer) if writer != cpu else (cpu,)
    last_sev, sender, sent_from = sent
    if last_sev < 0:
        return Finding.of(NAME, "no-sev", cpus, data, (stored, number))
    data |= {"sender": sender, "sent_at": trace.place(sent_from)}
    what = "sev-spent" if last_sev > stored else "sev-before-store"
    return Finding.of(NAME, what, cpus, data, (stored, last_sev, number))
