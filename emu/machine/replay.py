"""Recorded schedules: each pick is done as it was recorded, or the replay has diverged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import ReplayDiverged
from emu.machine.actor import State
from emu.operation import Delay, Poll
from emu.schedulers import Pick, part_of
from emu.schedulers.replay import Replay

if TYPE_CHECKING:
    from emu.machine.machine import Machine

_OF_CPUS = ("run", "timeout", "fail", "delay")  # and those of parts
_CAN_RUN = (State.RUNNABLE, State.SPINNING, State.DELAYED)


def follow(machine: Machine, pick: Pick) -> int:
    """Do a pick that is no step of a CPU and return -1, or return the CPU that is to run.

    :raises ReplayDiverged: it cannot be done in this state
    """
    kind, number = pick
    part = part_of(kind)
    if kind in _OF_CPUS or part >= 0:
        actor = machine.actors[number] if number < len(machine.actors) else None
        if actor is None or actor.state not in _CAN_RUN:
            raise _diverged(
                machine, f"CPU{number} is {actor.state.value if actor else 'not there'}, not runnable"
            )
        if kind == "timeout" and isinstance(actor.pending, Poll):
            actor.waited = actor.pending.timeout_ns + 1
        if kind == "fail":
            machine.interconnect.clear_exclusive(actor.pe)
        if actor.state is State.DELAYED and isinstance(actor.pending, Delay) and machine.model is not None:
            machine.model.elapse()
        machine.delays_maintenance = kind == "delay"
        if part >= 0:
            if not machine.parts.can_make(number, part):
                raise _diverged(machine, f"CPU{number} has no part {part} to make alone")
            machine.parts.alone = part
        machine.spins.release(number)
        machine.queue.set(number, State.RUNNABLE)
        return number
    if kind == "wake":
        if number >= len(machine.actors) or machine.actors[number].state is not State.WAITING:
            raise _diverged(machine, f"CPU{number} is not asleep in WFE")
        machine.waking.wake_asleep(number)
    elif kind == "start":
        action = machine.clock.take_action(number)
        if action is None:
            raise _diverged(machine, f"no start of CPU{number} is pending")
        action()
    else:
        _choose(machine, kind, number)
    machine.picks += 1
    return -1


def coming(machine: Machine) -> int:
    """Return the CPU that makes the next step, where a recorded schedule says so; else -1."""
    if machine.unfinished >= 0:
        return machine.unfinished
    scheduler = machine.scheduler
    pick = scheduler.coming if isinstance(scheduler, Replay) else None
    moves = pick is not None and (pick.kind in _OF_CPUS or part_of(pick.kind) >= 0)
    return pick.number if pick is not None and moves else -1


def _choose(machine: Machine, letter: str, pa: int) -> None:
    # The memory model does something by itself: no CPU's doing.
    if machine.model is None:
        raise _diverged(machine, f"{letter}: this memory model changes nothing by itself")
    current, machine.current = machine.current, -1
    try:
        machine.model.choose(pa, letter)
    except ValueError as error:
        raise _diverged(machine, f"{pa:#x}: {error}") from None
    machine.current = current


def _diverged(machine: Machine, why: str) -> ReplayDiverged:
    return ReplayDiverged(f"schedule: pick {machine.picks}: {why}")
