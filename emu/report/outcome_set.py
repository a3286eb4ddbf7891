"""Words and JSON of a set of outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emu.explore.explorer import case_of
from emu.explore.outcomes import OutcomeSet
from emu.host.build import Boot
from emu.report.exploring import coverage_json, coverage_lines


def outcomes_lines(names: Sequence[str], found: OutcomeSet, boot: Boot) -> Iterator[str]:
    """Yield a line for each outcome, with the case that ends so, and the sum.

    :param names: the expressions as they were written
    """
    for values, picks in found.picks.items():
        yield "  ".join(f"{name} = {value:#x}" for name, value in zip(names, values, strict=True))
        yield f"  case: {case_of(boot, picks)}"
    count = len(found.picks)
    complete = "complete" if not found.ends.incomplete else f"incomplete: {', '.join(found.ends.incomplete)}"
    yield f"{count} outcome{'' if count == 1 else 's'}, {complete}"
    yield from coverage_lines(found.coverage)
    yield f"case: {boot.case.text()}"


def outcomes_json(names: Sequence[str], found: OutcomeSet, case: str, boot: Boot) -> dict[str, Any]:
    """Return the same as JSON has it."""
    return {
        "case": case,
        "complete": not found.ends.incomplete,
        "incomplete": found.ends.incomplete,
        "coverage": coverage_json(found.coverage),
        "outcomes": [
            {"values": dict(zip(names, values, strict=True)), "case": case_of(boot, picks)}
            for values, picks in found.picks.items()
        ],
    }
