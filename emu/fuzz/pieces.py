"""A search as a row of pieces, so that processes can share it.

What a piece asks, and what it tells of that, follows from the piece alone; the search
(:mod:`emu.fuzz.search`) merges what they tell in the order of their numbers. So a search comes to the same
whoever runs its pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from emu.errors import EmuError, Untestable
from emu.fuzz.built_lookup import Checked, Point, UnderTest
from emu.fuzz.left_out import Key, LeftOut
from emu.fuzz.phases import BATCH, WHOLE_LOOK_MAX, Cause, Phases, again_at

RANDOM_CASES = 4 * BATCH  # of a piece
_PARTS = 4  # of the regression corpus at a large NR_CPUS


@dataclass(frozen=True, slots=True)
class Told:
    """What a piece, or a step of it, came to.

    :ivar number: of the piece
    :ivar cases: questions asked
    :ivar left_out: cases that were not, by phase and reason
    :ivar met: the first wrong answer of each cause that was not known
    :ivar over: why the phase is over at its NR_CPUS, before its end
    :ivar error: what ended it before its end
    """

    number: int
    cases: int = 0
    left_out: tuple[tuple[Key, int], ...] = ()
    met: tuple[Checked, ...] = ()
    over: LeftOut | None = None
    error: EmuError | None = None

    def and_then(self, told: Told) -> Told:
        """Return what both came to, one after the other."""
        left_out = Counter(dict(self.left_out))
        left_out.update(dict(told.left_out))
        met = self.met + told.met
        return Told(self.number, self.cases + told.cases, tuple(left_out.items()), met, told.over)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a search, before it is run.

    :ivar number: from 0
    :ivar points: values of NR_CPUS and of other defines; of most phases one
    :ivar part: which part of the regression corpus at a large NR_CPUS, or of the random questions
    :ivar cases: random questions
    :ivar known: causes that are known when its stage begins
    :ivar causes: how many findings these are
    :ivar closed: why it asks nothing, and counts all as left out; None: it asks
    """

    number: int
    phase: str
    points: tuple[Point, ...]
    part: int = 0
    cases: int = 0
    seed: int = 0
    matches: int = 75
    known: frozenset[Cause] = frozenset()
    causes: int = 0
    closed: LeftOut | None = None

    @property
    def seconds(self) -> float:
        """About the CPU time that it takes."""
        if self.phase == "random":
            mean = sum(nr_cpus for nr_cpus, _others in self.points) / len(self.points)
            return self.cases * (1e-6 + mean * 3.5e-9)
        if self.phase == "regression":
            return (0.05 + self.points[0][0] * 1.3e-4) / _parts(self.points[0])
        return 0.05

    def steps(self, under_test: UnderTest) -> Iterator[Told]:
        """Run it; yield after each batch what the batch came to.

        :raises EmuError: it cannot be tested
        """
        phases = Phases(under_test, self.phase, set(self.known), self.causes, self.closed)
        for _ in self._phase(phases, under_test):
            yield self._told(phases)
        yield self._told(phases)  # what was left out since

    def _told(self, phases: Phases) -> Told:
        # What is new since the last time.
        left_out, met = tuple(phases.left_out.items()), tuple(phases.met)
        told = Told(self.number, phases.cases, left_out, met, phases.over)
        phases.cases = 0
        phases.left_out.clear()
        phases.met.clear()
        return told

    def _phase(self, phases: Phases, under_test: UnderTest) -> Iterator[None]:
        lookups = [under_test.at(*point) for point in self.points]
        match self.phase:
            case "small":
                return phases.small(lookups[0])
            case "learned":
                return phases.learned(lookups)
            case "again":
                return phases.again(lookups[0])
            case "regression":
                return phases.regression(lookups[0], self.part, _parts(self.points[0]))
            case "random":
                return phases.random(lookups, self.cases, Random(f"{self.seed}:{self.part}"), self.matches)
            case _:
                return phases.concurrent(lookups, self.seed)

    def run(self, under_test: UnderTest, _points: Sequence[Point], _matches: int) -> Told:
        """Run all of it, as a worker does; an error is told too."""
        whole = Told(self.number)
        try:
            for told in self.steps(under_test):
                whole = whole.and_then(told)
        except EmuError as error:
            return replace(whole, error=error)
        return whole

    def lost(self, cause: str, what: str) -> Told:
        """Return what is told of it when its worker is lost."""
        asked = f"{self.phase} questions at NR_CPUS {self.points[0][0]}"
        return Told(self.number, error=Untestable(f"{asked}: {what} ({cause})"))


def _parts(point: Point) -> int:
    return 1 if point[0] <= WHOLE_LOOK_MAX else _PARTS


def stages(
    points: Sequence[Point], cases: int, seed: int, matches: int, alike: Sequence[Sequence[Point]]
) -> list[list[Piece]]:
    """Return the pieces of a search, in order; those of a stage begin with the same causes known.

    :param cases: random questions
    :param alike: NR_CPUS for which the code is the same, but for numbers in it
    """
    found: list[list[Piece]] = []
    number = 0

    def piece(phase: str, at: Sequence[Point], part: int = 0, count: int = 0) -> Piece:
        nonlocal number
        number += 1
        return Piece(number - 1, phase, tuple(at), part, count, seed, matches)

    found += [[piece("small", [point])] for point in points]
    found += [[piece("learned", some)] for some in alike]
    for large in (False, True):
        some = [point for point in points if (point[0] > WHOLE_LOOK_MAX) == large]
        found.append([piece("regression", [point], part) for point in some for part in range(_parts(point))])
    counts = [min(RANDOM_CASES, cases - start) for start in range(0, cases, RANDOM_CASES)]
    found.append([piece("random", points, part, count) for part, count in enumerate(counts)])
    found.append([piece("again", [again_at(points)])])
    found.append([piece("concurrent", points)])
    return [stage for stage in found if stage]
