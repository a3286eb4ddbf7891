"""The command ``leave``: one CPU alone, at full speed, until it is out of the loop around its PC.

Breakpoints stop it, wherever they are. With watchpoints or events it goes by single steps: a run at full
speed is not looked at in its midst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.debug.ends import how
from emu.debug.stops import Others, SessionStop
from emu.machine.actor import State

if TYPE_CHECKING:
    from emu.debug.session import Session

LEAVE_STEPS = 1 << 20  # their log must fit in memory


def leave_loop(session: Session, cpu: int) -> SessionStop:
    """Run ``cpu`` alone until it leaves the innermost loop around its PC; at most LEAVE_STEPS."""
    actor = session.machine.actors[cpu]
    pe = actor.pe
    loop = session.places.loop(pe.pc)
    if actor.task is not None or loop is None:
        return SessionStop("step", cpu, "no loop around the PC")
    if actor.state is not State.RUNNABLE:
        return SessionStop("step", cpu, f"CPU{cpu} cannot go on: {how(session, cpu)}")
    first, last, exits = loop
    before = pe.counters.instructions
    singly = bool(session.settings.watchpoints or session.settings.events)
    while True:
        left = LEAVE_STEPS - (pe.counters.instructions - before)
        if singly:
            stop = _step_alone(session, cpu)
        else:
            stop = session.run_alone(cpu, [*exits, *_breakpoints(session, cpu)], left)
        if stop is not None:
            return stop
        done = pe.counters.instructions - before
        where = f"after {done} instructions, at {session.stands_at(cpu)}"
        if actor.task is None and actor.state is not State.RUNNABLE:
            what = f"CPU{cpu} in the loop {first:#x}..{last:#x}: {how(session, cpu)}"
            return SessionStop("step", cpu, f"{what}, {where}")
        if actor.task is not None or pe.pc in exits:
            return SessionStop("step", cpu, f"left {first:#x}..{last:#x} {where}")
        if done >= LEAVE_STEPS:
            return SessionStop("step", cpu, f"still in {first:#x}..{last:#x} {where}")


def _step_alone(session: Session, cpu: int) -> SessionStop | None:
    settings = session.settings
    others, settings.others = settings.others, Others.STAND
    try:
        stop = session.step(cpu)
    finally:
        session.settings.others = others
    return None if stop.reason == "step" and not stop.text else stop


def _breakpoints(session: Session, cpu: int) -> list[int]:
    # VAs at which ``cpu`` can come to a breakpoint with the translation that it has now.
    places, pc = session.places, session.pe(cpu).pc
    shift = pc - places.pa(pc)
    pas = [made.pa for made in session.settings.breakpoints.values() if made.cpu in (-1, cpu)]
    return sorted({va for pa in pas for va in (pa, (pa + shift) % 2**64, places.va(pa))})
