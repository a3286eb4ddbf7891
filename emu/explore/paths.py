"""How many schedules there are without any reduction, to measure one by."""

from __future__ import annotations

from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState
from emu.explore.reduction import EnabledSet, Option
from emu.explore.transition_system import TransitionSystem


def count_paths(system: TransitionSystem) -> int:
    """Return how many schedules there are without any reduction: paths through the graph of all states.

    :raises ValueError: the graph has a cycle, so that there is no end of them
    """
    known: dict[GlobalState, int] = {}
    busy: set[GlobalState] = set()
    first = system.first()
    stack: list[tuple[GlobalState, list[Option], Undo, int]] = [(first, _all_options(system, first), [], 0)]
    busy.add(first)
    while True:
        state, options, undo, total = stack.pop()
        if options:
            after, changed, _ = options.pop()()
            if after in busy:
                raise ValueError("a schedule comes back to where it was")
            if after in known:
                system.undo(changed)
                stack.append((state, options, undo, total + known[after]))
                continue
            stack.append((state, options, undo, total))
            stack.append((after, _all_options(system, after), changed, 0))
            busy.add(after)
            continue
        moves = EnabledSet(system, state, 0, False)
        result = total if moves.enabled else 1
        known[state] = result
        busy.discard(state)
        system.undo(undo)
        if not stack:
            return result
        above = stack.pop()
        stack.append((above[0], above[1], above[2], above[3] + result))


def _all_options(system: TransitionSystem, state: GlobalState) -> list[Option]:
    moves = EnabledSet(system, state, 0, False)
    return [
        option
        for actor in range(moves.actors)
        if moves.enabled >> actor & 1
        for option in moves.options(actor)
    ]
