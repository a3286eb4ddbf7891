"""One schedule that a scheduler picks, in the transition system."""

from __future__ import annotations

import random

from emu.explore.along import Along
from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import Judge
from emu.explore.search import Bounds
from emu.explore.transition_system import TransitionSystem
from emu.schedulers import make_scheduler


def walk_once(system: TransitionSystem, scheduler: str, bounds: Bounds, judge: Judge) -> tuple[int, bool]:
    """Take one schedule; memory is then as it was.

    :param scheduler: its text, from which the choices are drawn too that it has no say in
    :return: how many steps it took, and whether it came to an end or to a finding within the bound
    """
    undone: list[Undo] = []
    try:
        return _walk(system, scheduler, bounds, judge, undone)
    finally:
        for undo in reversed(undone):
            system.undo(undo)
        system.lender.settle()


def _walk(
    system: TransitionSystem, text: str, bounds: Bounds, judge: Judge, undone: list[Undo]
) -> tuple[int, bool]:
    scheduler = make_scheduler(text)
    draw = random.Random(text)  # which part of a pair comes first
    along = Along(system, bounds.early, bounds.spurious)
    state: GlobalState = system.first()
    last = -1
    path: list[Transition] = []
    while len(path) < bounds.depth:
        moves = along.moves(state)
        if not moves.enabled and not moves.wakes and not moves.blocked_on_units():
            break
        if judge.state(system, state, moves, path):
            break
        last = scheduler.pick(along.movable, last)
        options = moves.options(last)
        way = draw.randrange(len(options)) if moves.has_parts(last) else -1
        state, undo, transition = options[way]()
        if moves.is_early(last, transition.pick):
            state = state._replace(early=state.early + 1)
        along.took(transition, undo)
        path.append(transition)
        undone.append(undo)
    ended = len(path) < bounds.depth
    if ended:
        judge.end(system, state, path)
    return len(path), ended
