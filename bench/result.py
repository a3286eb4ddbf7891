"""What a benchmark gives: samples, a unit and a goal; as an object for JSON and as a line of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any


class Skipped(Exception):
    """The benchmark cannot be run here; the text says what is missing."""


class Broken(Exception):
    """A measured program failed or answered wrongly; the text says how."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured quantity.

    :ivar at_most: the goal for the median, where less is better
    :ivar at_least: the goal for the median, where more is better
    :ivar note: what this figure is, beside what its benchmark covers
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle sample."""
        return median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without one."""
        if self.at_most is not None:
            return self.median <= self.at_most
        if self.at_least is not None:
            return self.median >= self.at_least
        return None

    @property
    def spread(self) -> str:
        """The least and the largest sample."""
        return f"{number(min(self.samples))}..{number(max(self.samples))}"

    @property
    def goal(self) -> str:
        """The goal as text, or nothing."""
        if self.at_most is not None:
            return f"<= {number(self.at_most)}"
        return f">= {number(self.at_least)}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, in words; nothing without a goal."""
        return {True: "met", False: "NOT MET", None: ""}[self.met]

    def as_json(self) -> dict[str, Any]:
        """Return the object of the JSON report."""
        goal = {"at_most": self.at_most, "at_least": self.at_least}
        return {
            "name": self.name,
            "unit": self.unit,
            "samples": list(self.samples),
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "goal": {key: value for key, value in goal.items() if value is not None} or None,
            "met": self.met,
            "note": self.note,
            "facts": self.facts,
        }

    def row(self) -> str:
        """Return the line of the table."""
        return (
            f"{self.name:<28} {number(self.median):>9} {self.unit:<6} {self.spread:<17} {self.goal:<12} "
            f"{self.verdict}".rstrip()
        )


@dataclass(frozen=True, slots=True)
class Absent:
    """A figure that could not be had: a peer that is not installed, say. The reason says what is missing."""

    name: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the object of the JSON report."""
        return {"name": self.name, "skipped": self.reason}

    def row(self) -> str:
        """Return the line of the table."""
        return f"{self.name:<28} skipped: {self.reason}"


Figures = Iterator[Result | Absent]
Function = Callable[[int, bool], Figures]  # samples, and whether in a hurry


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A function that measures, with what a reader must know to read its figures rightly.

    :ivar covers: what is done within the measured time, and in what time (CPU seconds unless said)
    :ivar peer: what does the like elsewhere, and how it was measured
    :ivar limit: what no such program can beat, and how it was measured
    """

    function: Function
    covers: str
    peer: str
    limit: str

    @property
    def name(self) -> str:
        """Name of the function, which is the first figure's too."""
        return self.function.__name__

    @property
    def about(self) -> dict[str, str]:
        """The three texts by their headings."""
        return {"covers": self.covers, "peer": self.peer, "limit": self.limit}


def benchmark(
    *, covers: str, peer: str = "none known", limit: str = "none known"
) -> Callable[[Function], Benchmark]:
    """Return a decorator that makes a :class:`Benchmark` of a function."""
    return lambda function: Benchmark(function, covers, peer, limit)


HEADER = f"{'figure':<28} {'median':>9} {'unit':<6} {'range':<17} {'goal':<12}"


def number(value: float) -> str:
    """Return ``value`` with three significant digits, whole from 100 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
