"""Findings and outcomes as JSON: the one form that every command prints. docs/formats.md describes it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from emu.finding import PA, PC, VA, Finding, NoPC, Source, Value, Word
from emu.outcome import Outcome
from emu.report.words import finding_words


def finding_json(finding: Finding, case: str) -> dict[str, Any]:
    """Return a finding; ``case`` is the text of the case that shows it."""
    return {
        "rule": finding.rule,
        "what": finding.what,
        "message": finding_words(finding),
        "cpus": list(finding.cpus),
        "data": {name: _value(value) for name, value in finding.data},
        "records": list(finding.records),
        "boot": finding.boot,
        "case": case,
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome; of name and number one says something, where the end has a detail at all."""
    return {"end": _identifier(outcome.end), "name": outcome.name or None, "number": outcome.number}


def verdict_word(findings: Iterable[object], *, stopped: bool = False, undecided: bool = False) -> str:
    """Return "fail" with findings, else "untestable" of a run that was cut off, else "pass".

    "undecided": of an exploration that came to a bound that nobody asked for."""
    if any(True for _ in findings):
        return "fail"
    if undecided:
        return "undecided"
    return "untestable" if stopped else "pass"


def _value(value: Value) -> Any:
    # An address says what it is one of; addresses and words may exceed 2**53, so they are strings.
    match value:
        case PA():
            return {"pa": f"{value:#x}"}
        case NoPC():
            return {"pc": None}
        case PC():
            return {"pc": f"{value:#x}"}
        case VA():
            return {"va": f"{value:#x}"}
        case Word():
            return f"{value:#x}"
        case Source():
            return {"source": str(value)}
        case Outcome():
            return outcome_json(value)
        case Enum():
            return _identifier(value)
    return value


def _identifier(value: Enum) -> str:
    return value.name.lower().replace("_", "-")
