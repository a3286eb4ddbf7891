"""Steps that need no state of their own: whatever others do, in any order, is as well done behind them."""

from __future__ import annotations

from emu.explore.global_state import GlobalState
from emu.explore.standing import can_go
from emu.explore.transition_system import TransitionSystem
from emu.explore.variants import is_doomed, may_fail


def alone(system: TransitionSystem, state: GlobalState, last: int) -> int:
    """Return a CPU whose next step meets nothing that others may do from here on, or -1.

    :param last: the CPU that ran last, which comes first
    """
    locals = state.locals
    if last >= 0:
        local = locals[last]
        action = local.action
        if not action.followed and not state.later and not action.seen:
            reads, writes = action.reads_over | action.clashes, action.writes_over
            for other in locals:
                if other is not local and (writes & other.reads or reads & other.writes):
                    break
            else:
                if can_go(system, state, last) and (action.is_simple or not may_fail(system, state, last)):
                    return last
    for cpu, local in enumerate(locals):
        touches = local.action.writes or local.action.reads
        if (not touches or is_doomed(system, state, cpu)) and can_go(system, state, cpu):
            return cpu
    return -1
