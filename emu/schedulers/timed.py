"""Timed: always the actor whose clock is earliest, so that simulated time is meaningful."""

from __future__ import annotations

from collections.abc import Callable, Sequence

NAME = "timed"
SEEDED = False


class Timed:
    """Picks the actor with the earliest clock; of equal clocks the lower index."""

    def __init__(self, text: str = "") -> None:
        if text:
            raise ValueError("takes nothing behind its name")
        self._time_of: Callable[[int], int] = lambda cpu: 0

    def attach(self, time_of: Callable[[int], int]) -> None:
        """Use the machine's clocks: ns by actor index."""
        self._time_of = time_of

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the runnable actor with the earliest clock."""
        return min(runnable, key=self._time_of)


SCHEDULER = Timed
