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
        self._times_of: Callable[[Sequence[int]], list[int]] = lambda cpus: [0] * len(cpus)

    def attach(self, times_of: Callable[[Sequence[int]], list[int]]) -> None:
        """Use the machine's clocks: ns of each of some actors."""
        self._times_of = times_of

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the runnable actor with the earliest clock."""
        times = self._times_of(runnable)
        return runnable[times.index(min(times))]


SCHEDULER = Timed
