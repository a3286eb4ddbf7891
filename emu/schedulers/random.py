"""Uniform random: any runnable actor, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from emu.seed import seed_of

NAME = "random"


class Uniform:
    """Picks uniformly with its own Mersenne Twister: the same picks for the same seed on every host."""

    def __init__(self, text: str = "") -> None:
        self._random = random.Random(seed_of(text))

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return a random runnable actor."""
        return runnable[int(self._random.random() * len(runnable))]


def walk(text: str) -> Callable[[int], str]:
    """Return a function from the number of a schedule to its scheduler: seeds count up from ``text``'s.

    :raises ValueError: the seed is not an integer
    """
    first = seed_of(text)
    return lambda number: f"{NAME}:{first + number}"


SCHEDULER = Uniform
