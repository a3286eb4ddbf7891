"""Steps that go otherwise than usual: exclusives that fail by themselves, late maintenance, parts alone."""

from __future__ import annotations

from emu.explore.global_state import GlobalState, Stepped
from emu.explore.transition_system import TransitionSystem
from emu.machine.actor import State
from emu.operation import CacheOp, StoreExclusive
from emu.schedulers import PART, Pick
from emu.semantics import monitors


def passes(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether the actor's next operation is a store-exclusive whose monitor lets it pass."""
    local = state.locals[cpu]
    if local.state is not State.RUNNABLE or not isinstance(local.action.operation, StoreExclusive):
        return False
    return monitors.passes(state.system, cpu, local.action.accesses[0].pa)


def may_fail(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether it may fail by itself all the same (Arm DDI 0487, B2.12.5), within the bound."""
    return system.failures_max > 0 and (
        passes(system, state, cpu) and state.failed >> 4 * cpu & 15 < system.failures_max
    )


def is_doomed(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether it is one without a monitor: it fails whatever others do, and they see nothing of it."""
    action = state.locals[cpu].action
    if not isinstance(action.operation, StoreExclusive) or action.followed or action.seen or action.apart:
        return False
    return state.locals[cpu].state is State.RUNNABLE and monitors.armed(state.system, cpu) is None


def fail(system: TransitionSystem, state: GlobalState, cpu: int) -> Stepped:
    """Let it fail."""
    cleared = state._replace(system=monitors.disarm(state.system, cpu), failed=state.failed + (1 << 4 * cpu))
    return system.perform(cleared, cpu, state.locals[cpu].action, Pick("fail", cpu))


def maintains(state: GlobalState, cpu: int) -> bool:
    """Tell whether the actor's next operation is maintenance of a unit."""
    local = state.locals[cpu]
    runs = local.state is State.RUNNABLE and local.action.followed
    return runs and isinstance(local.action.operation, CacheOp)


def may_delay(system: TransitionSystem, state: GlobalState, cpu: int) -> bool:
    """Tell whether it makes a difference if that takes effect later: no barrier follows at once."""
    return maintains(state, cpu) and not system.footprints.completes(system.next_local(state, cpu))


def delay(system: TransitionSystem, state: GlobalState, cpu: int) -> Stepped:
    """Let it take effect later."""
    return system.perform(state, cpu, state.locals[cpu].action, Pick("delay", cpu))


def has_part(state: GlobalState, cpu: int, number: int) -> bool:
    """Tell whether the actor's next instruction has this part, to be made alone."""
    local = state.locals[cpu]
    return local.state is State.RUNNABLE and any(number == each for each, _ in local.action.apart)


def make_part(system: TransitionSystem, state: GlobalState, cpu: int, number: int) -> Stepped:
    """Let the actor make one part of its next instruction alone."""
    part = dict(state.locals[cpu].action.apart)[number]
    return system.perform(state, cpu, part, Pick(f"{PART}{number}", cpu), number)
