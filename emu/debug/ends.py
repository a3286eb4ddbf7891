"""Why a command comes to no end: what CPUs are up to that cannot go on, in words."""

from __future__ import annotations

from emu.debug.target import DebugTarget
from emu.machine.actor import State, outcome_of
from emu.outcome import End
from emu.report.words import outcome_words

_TOLD_MAX = 8  # CPUs, in one line
AT_END = (State.ENDED, State.SPINNING)  # of a CPU that, perhaps, nothing lets go on
# Those that are told of when nobody can go on.
_STAND_STILL = (End.SPINS, End.EXCEPTION_LOOP, End.ASLEEP_WFE, End.ASLEEP_WFI)


def how(target: DebugTarget, cpu: int) -> str:
    """Return what ``cpu`` is up to while it cannot go on: ``asleep in WFE``, ``off``."""
    actor = target.machine.actors[cpu]
    if target.machine.next_boot is not None:
        return "its boot is over; the next one begins where the others are scheduled"
    return "delayed" if actor.state is State.DELAYED else outcome_words(outcome_of(actor))


def at_its_end(target: DebugTarget, cpu: int) -> str:
    """Return why nothing that others do lets ``cpu`` go on, as far as it is known; empty: something may."""
    machine, actor = target.machine, target.machine.actors[cpu]
    waits = actor.state is State.SPINNING and actor.spins is None
    if machine.next_boot or waits or actor.state not in AT_END:
        return ""
    return f"CPU{cpu} cannot go on: {how(target, cpu)}, at {target.stands_at(cpu)}"


def not_there(target: DebugTarget, steps: int) -> str:
    """Return where CPUs are that have not come to a place in so many steps: in which loop, or asleep."""
    told = []
    for cpu, actor in enumerate(target.machine.actors):
        if actor.task is not None or actor.state in (State.OFF, State.ENDED):
            continue
        loop = target.places.loop(actor.pe.pc) if actor.state is State.RUNNABLE else None
        if loop is not None:
            told.append(f"CPU{cpu} is in the loop {target.places.describe(loop[0])}..{loop[1]:#x}")
        elif actor.state is not State.RUNNABLE:
            told.append(_stands(target, cpu))
    return f"not there after {steps} steps" + (f": {_some(told)}" if told else "")


def why_over(target: DebugTarget) -> str:
    """Return why no step is left: the limit, or who sleeps or goes round for ever, and where."""
    machine = target.machine
    still = [_stands(target, cpu) for cpu in target.cpus if machine.outcome(cpu).end in _STAND_STILL]
    return machine.stopped or ": ".join(["nobody can go on", *([_some(still)] if still else [])])


def _stands(target: DebugTarget, cpu: int) -> str:
    actor = target.machine.actors[cpu]
    return f"CPU{cpu} {outcome_words(outcome_of(actor))}, at {target.stands_at(cpu)}"


def _some(told: list[str]) -> str:
    more = [f"and {len(told) - _TOLD_MAX} more"] if len(told) > _TOLD_MAX else []
    return "; ".join(told[:_TOLD_MAX] + more)
