"""CPUs that only look and sleep in a loop that is taken for a wait (:mod:`emu.explore.event_waits`).

Or that only look by an exclusive load, which arms their monitor. Such a CPU stands: a search does not let it
go on until it comes to something new, or nobody else can run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState, Stepped, Transition
from emu.explore.transition_system import TransitionSystem
from emu.machine.actor import State
from emu.operation import LoadExclusive
from emu.semantics.state import members
from emu.semantics.transition import value_of

if TYPE_CHECKING:
    from emu.explore.reduction import EnabledSet


def turns(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether an actor goes round in a loop that looks more than once, and does nothing else.

    What it has seen of one place may be older then than what it comes to see of another, so it matters where
    it stands.
    """
    begin = local = state.locals[cpu]
    if not system.spins(state, cpu):
        return False
    looks = len(begin.action.accesses)
    while True:
        seen = value_of(system.loaded(state, cpu, local.action)[0])
        local = local.edges[seen].local
        if local is begin:
            return looks > 1
        looks += len(local.action.accesses)


def stands(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether an actor that can step would only look and sleep, or only arm its monitor and go round."""
    return _arms_alone(system, state, cpu) or _sleeps_again(system, state, cpu)


def _arms_alone(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    # Whether an exclusive load leads to itself, with the monitor armed: a store that clears the
    # monitor sends an event, and the CPU waits for none.
    local = state.locals[cpu]
    action = local.action
    if not isinstance(action.operation, LoadExclusive) or not system.footprints.deaf >> cpu & 1:
        return False
    if local.state is not State.RUNNABLE or action.followed or action.seen or action.apart or local.armed:
        return False
    seen = system.observed(state, cpu)
    once = local.edges.get(seen)
    again = once and once.local.edges.get(seen)
    return bool(once and again and again.local is once.local and once.local.action.where == action.where)


def _sleeps_again(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    waits, local = system.footprints.waits, state.locals[cpu]
    if waits is None or local not in waits.staying:
        return False
    if not local.action.followed:
        return waits.stays(local, system.observed(state, cpu))
    # A look that gives an old value matters when it is the last one: no event follows the new value.
    values, _, notes = system.loaded(state, cpu, local.action)
    return waits.stays(local, values[0]) and not any(note.value in waits.untold[local] for note in notes)


def can_go(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether an actor can step and comes to something new."""
    return system.can_step(state, cpu) and not stands(system, state, cpu)


def all_asleep(
    system: TransitionSystem, state: GlobalState, moves: EnabledSet, undo: list[Undo], path: list[Transition]
) -> tuple[GlobalState, int]:
    """Let those who stand fall asleep, when nobody else can run: time passes then, or it is an end.

    :return: the state then, and how many steps that takes
    """
    before = len(path)
    if moves.enabled == moves.expired:
        for cpu in members(moves.standing):
            while system.can_step(state, cpu):
                state = _take(system.step(state, cpu), undo, path)
    return state, len(path) - before


def _take(stepped: Stepped, undo: list[Undo], path: list[Transition]) -> GlobalState:
    state, changed, transition = stepped
    undo.append(changed)
    path.append(transition)
    return state


def hidden_events(system: TransitionSystem) -> int:
    """Return the CPUs, as bits, whose event registers tell no states apart (:func:`as_seen`).

    Not those that stand in such loops with units: they may have to look, spend their event and look again.
    """
    footprints = system.footprints
    blind = 0 if footprints.waits is None or footprints.units else footprints.waits.blind
    return footprints.deaf | blind


def as_seen(system: TransitionSystem, state: GlobalState) -> GlobalState:
    """Return the state without the event registers that only such loops look at, or nothing does."""
    if not state.system.events:
        return state
    hidden = state.system.events & hidden_events(system)
    return (
        state._replace(system=state.system._replace(events=state.system.events & ~hidden))
        if hidden
        else state
    )
