"""All ends of an exploration, for who asks what states there are and not what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from emu.explore.explorer import LEARNING, ROUNDS_MAX, Explorer
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import NoJudge
from emu.explore.search import Bounds, Count, Search
from emu.explore.transition_system import TransitionSystem
from emu.explore.watch import word_of

See = Callable[["EndState"], None]


class EndState:
    """A state in which no actor can go on.

    :ivar locals: where each actor is
    :ivar path: the transitions that led there
    """

    def __init__(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> None:
        self.locals = state.locals
        self.path = path
        self._system, self._state = system, state

    def memory(self, pa: int, size: int) -> int:
        """Return ``size`` bytes at ``pa``, unsigned, as a CPU with its caches on would load them."""
        return word_of(self._system, self._state, pa, size)


@dataclass(slots=True)
class _Ends(NoJudge):
    # Hands every end on.
    see: See
    count: int = 0

    def end(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> bool:
        self.count += 1
        self.see(EndState(system, state, path))
        return False


@dataclass(slots=True)
class Ends:
    """What a search for all ends came to.

    :ivar incomplete: why others may be missing; nothing: none is
    """

    count: Count
    incomplete: list[str] = field(default_factory=list)


def find_ends(
    explorer: Explorer,
    bounds: Bounds,
    begin: Callable[[], See],
    tell: Callable[[Count, int], bool] = lambda _count, _depth: False,
) -> Ends:
    """Search until nothing new is learned.

    :param begin: called for each round; returns what takes its ends, those of the last round last
    """
    for number in range(1, ROUNDS_MAX + 1):
        explorer.stepper.grew = False
        system = explorer.system(bounds)
        search = Search(system, bounds, _Ends(begin()), tell)
        search.count.rounds = number
        search.run()
        incomplete = [search.stopped] if search.stopped else sorted(search.cut)
        if search.stopped or not (explorer.stepper.grew or system.footprints.changed):
            return Ends(search.count, incomplete)
    return Ends(search.count, [LEARNING])
