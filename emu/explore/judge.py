"""What looks at the states that a search comes to."""

from __future__ import annotations

from typing import Protocol

from emu.explore.global_state import GlobalState, Transition
from emu.explore.reduction import EnabledSet
from emu.explore.transition_system import TransitionSystem


class Judge(Protocol):
    """Looks at states; each method says whether the search is to stop."""

    def state(
        self, system: TransitionSystem, state: GlobalState, moves: EnabledSet, path: list[Transition]
    ) -> bool:
        """Look at a state that was not known."""
        ...

    def end(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> bool:
        """Look at an end: a state in which no actor can run."""
        ...


class NoJudge(Judge):
    """Finds nothing."""

    def state(
        self, system: TransitionSystem, state: GlobalState, moves: EnabledSet, path: list[Transition]
    ) -> bool:
        """Go on."""
        return False

    def end(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> bool:
        """Go on."""
        return False
