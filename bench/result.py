"""What a benchmark gives: samples, a unit and a goal; as an object for JSON and as a line of the table."""

from __future__ import annotations

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
    :ivar note: what the reader must know to read the number rightly
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
        goal = ""
        if self.at_most is not None:
            goal = f"<= {number(self.at_most)}"
        elif self.at_least is not None:
            goal = f">= {number(self.at_least)}"
        met = {True: "met", False: "NOT MET", None: ""}[self.met]
        low, high = number(min(self.samples)), number(max(self.samples))
        spread = f"{low}..{high}"
        return (
            f"{self.name:<23} {number(self.median):>9} {self.unit:<6} {spread:<17} {goal:<9} {met}".rstrip()
        )


HEADER = f"{'benchmark':<23} {'median':>9} {'unit':<6} {'range':<17} {'goal':<9}"


def number(value: float) -> str:
    """Return ``value`` with three significant digits, whole from 100 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
