"""Round robin: each runnable actor in index order, one slice each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

NAME = "round-robin"
SEEDED = False


class RoundRobin:
    """Picks the next higher index, and after the highest the lowest.

    :ivar in_turn: says so to the machine, which may then let several go at once
    """

    in_turn = True

    def __init__(self, text: str = "") -> None:
        if text:
            raise ValueError("takes nothing behind its name")

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the runnable actor that follows ``current``."""
        at = bisect_right(runnable, current)
        return runnable[at] if at < len(runnable) else runnable[0]


SCHEDULER = RoundRobin
