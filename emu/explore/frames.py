"""The stack of a search, in memory and in a file."""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import ReplayDiverged
from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState
from emu.explore.reduction import EnabledSet
from emu.explore.unit_moves import Way
from emu.schedulers import Pick


@dataclass(slots=True)
class Frame:
    """A state on the path: what is still to be tried in it, and how to leave it."""

    state: GlobalState
    moves: EnabledSet
    chosen: int
    todo: list[tuple[int, Way]]
    sleep: int
    undo: list[Undo]
    steps: int  # of the path that led from the frame before to here
    preemptions: int = 0
    last: int = -1
    done: int = 0
    number: int = -1  # of the state, when it is known


def check_fits(saved: SavedFrame, moves: EnabledSet) -> bool:
    """Compare a saved frame with the state that its picks lead to.

    :return: whether each actor that is to be tried can be: one may stand here that did not in the search,
        which knew more of what others store
    :raises ReplayDiverged: it has an actor that cannot go on there, or none that there is
    """
    fits = True
    for actor in saved.todo:
        if actor < moves.cpus and moves.standing >> actor & 1:
            fits = False
        elif actor >= moves.actors or (actor < moves.cpus and not moves.everybody >> actor & 1):
            raise ReplayDiverged(f"resume: todo={actor}: no actor that can go on there")
    if (saved.sleep | saved.done) >> moves.actors:
        raise ReplayDiverged(
            f"resume: sleep={saved.sleep:#x}, done={saved.done:#x}: there are {moves.actors} actors"
        )
    return fits


@dataclass(frozen=True, slots=True)
class SavedFrame:
    """A frame as a file has it: the picks from the frame before, the actors to try, two sets of bits."""

    picks: tuple[Pick, ...]
    todo: tuple[int, ...]
    sleep: int
    done: int
    preemptions: int
