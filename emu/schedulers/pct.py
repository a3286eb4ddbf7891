"""PCT: random priorities, and a few random places where the running actor drops behind all others.

``pct:SEED`` or ``pct:SEED:DEPTH:STEPS``. A bug that needs ``depth`` ordering constraints shows in a run of n
actors and at most ``steps`` picks with a probability of 1 / (n * steps ** (depth - 1)) or more. Source:
Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs", ASPLOS 2010.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from emu.seed import seed_of

NAME = "pct"
FAIR = False  # it starves an actor of low priority on purpose
DEPTH, STEPS = 3, 1000
_ROW_MAX = 10_000  # an actor that runs this long is assumed to wait for another


class Pct:
    """Picks by priority; a new actor gets a random rank among the known actors."""

    def __init__(self, text: str = "") -> None:
        seed, depth, steps = parse_pct(text)
        self._random = random.Random(seed)
        self._order: list[int] = []  # highest priority first
        self._known: set[int] = set()  # those in the order
        self._at = 0
        self._row = 0  # picks of one actor in a row
        self._waits = False
        self._changes = {int(self._random.random() * steps) for _ in range(depth - 1)}

    def waits(self) -> None:
        """The actor that was picked last does nothing but wait: it drops behind all others.

        Else it would be picked for ever, and what it waits for would not happen.
        """
        self._waits = True

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the runnable actor with the highest priority."""
        for actor in runnable:
            if actor not in self._known:
                self._known.add(actor)
                self._order.insert(int(self._random.random() * (len(self._order) + 1)), actor)
        waits = self._waits or self._row >= _ROW_MAX
        self._waits = False
        if (self._at in self._changes or waits) and current in self._known:
            self._order.remove(current)
            self._order.append(current)
        self._at += 1
        can = set(runnable)
        chosen = next(actor for actor in self._order if actor in can)
        self._row = self._row + 1 if chosen == current and not waits else 0
        return chosen


def parse_pct(text: str) -> tuple[int, int, int]:
    """Return (seed, depth, steps) of ``SEED[:DEPTH[:STEPS]]``.

    :raises ValueError: malformed
    """
    parts = text.split(":")
    try:
        depth = int(parts[1]) if len(parts) > 1 else DEPTH
        steps = int(parts[2]) if len(parts) > 2 else STEPS
    except ValueError:
        raise ValueError("pct:SEED:DEPTH:STEPS are integers") from None
    if len(parts) > 3 or depth < 1 or steps < 1:
        raise ValueError("pct:SEED:DEPTH:STEPS: depth and steps are 1 or more")
    return seed_of(parts[0]), depth, steps


def bound(actors: int, depth: int, steps: int) -> float:
    """Return the least probability that one run shows a bug of this depth."""
    return 1.0 / (actors * float(steps) ** (depth - 1))


def walk(text: str) -> Callable[[int], str]:
    """Return a function from the number of a schedule to its scheduler: seeds count up from ``text``'s.

    :raises ValueError: the seed is not an integer
    """
    seed, colon, rest = text.partition(":")
    first = seed_of(seed)
    return lambda number: f"{NAME}:{first + number}{colon}{rest}"


def odds(text: str, actors: int, schedules: int, longest: int) -> str:
    """Return the lines with the probability that this many schedules show a bug.

    None holds when a schedule took more than ``steps``: no place behind them was drawn.
    """
    _, depth, steps = parse_pct(text)
    if depth > 1 and longest > steps:
        seed = text.partition(":")[0]
        return (
            f"no probability holds: the longest schedule took {longest} steps, "
            f"and places were drawn among {steps};\n"
            f"with --scheduler {NAME}:{seed}:{depth}:{longest} a bug of depth {depth} shows in one with "
            f"{bound(actors, depth, longest):.2g} or more"
        )
    chance = bound(actors, depth, steps)
    return (
        f"a bug of depth {depth} shows in one such schedule with a probability of {chance:.2g} or more,\n"
        f"in {schedules:,} with {1 - (1 - chance) ** schedules:.2g} "
        f"({actors} actors, {steps} steps; the longest took {longest})"
    )


SCHEDULER = Pct
