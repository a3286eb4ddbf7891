"""What an exploration came to: as text, as one object, and as properties."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from emu.case import Case
from emu.explore.coverage import Coverage
from emu.explore.explorer import ExplorationResult
from emu.explore.finding_collector import Found
from emu.explore.search import Count
from emu.models import MODELS, models_with_records
from emu.outcome import Outcome
from emu.report.json_form import finding_json, verdict_word
from emu.report.property import Group, Property, Suite
from emu.report.property import Result as Verdict
from emu.report.words import finding_words, outcome_words
from emu.rules import RULES, SEES


def counts_text(count: Count) -> str:
    """Return what was explored so far, in one line."""
    plural = "" if count.schedules == 1 else "s"
    return (
        f"{count.schedules:,} schedule{plural}: {count.complete:,} to the end, {count.joined:,} into known "
        f"states, {count.asleep:,} tried elsewhere"
    )


def summary(result: ExplorationResult, case: str) -> list[str]:
    """Return the last lines of the report."""
    how = "complete" if result.complete else f"incomplete: {', '.join(result.incomplete)}"
    number, count = len(result.findings), result.count
    verdict = verdict_word(result.findings, undecided=result.undecided)
    rounds = f", in round {count.rounds}" if count.rounds > 1 else ""
    return [
        f"{verdict}: {how}, {number} finding{'' if number == 1 else 's'}",
        counts_text(count),
        f"{count.states:,} states, {count.operations:,} operations{rounds}",
        *(coverage_lines(result.coverage) if result.coverage else ()),
        f"case: {case}",
    ]


def coverage_lines(coverage: Coverage) -> list[str]:
    """Return what the result is about: the model, its bounds, and what was executed that it does not have."""
    times = "once" if coverage.failures == 1 else f"{coverage.failures} times"
    bounds = [f"a STXR fails at most {times} in a row"] if coverage.failures else []
    bounds += [f"{coverage.early} time-outs or wake-ups may come early"] if coverage.early else []
    said = "; ".join([f"model: {coverage.model}, {coverage.cpus} CPUs in program order", *bounds])
    found = textwrap.wrap(said, 80, subsequent_indent="  ")
    if coverage.unmodelled:
        listed = [f"{what} ({count} place{'' if count == 1 else 's'})" for what, count in coverage.unmodelled]
        found += textwrap.wrap(f"not modelled: {'; '.join(listed)}", 80, subsequent_indent="  ")
    return found


def as_json(result: ExplorationResult, case: str) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    return {
        "case": case,
        "verdict": verdict_word(result.findings, undecided=result.undecided),
        "complete": result.complete,
        "incomplete": result.incomplete,
        "schedules": result.count.schedules,
        "findings": [finding_json(found.finding, found.case) for found in result.findings],
        "counters": asdict(result.count),
        "coverage": coverage_json(result.coverage) if result.coverage else None,
    }


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    """Return the same as JSON has it."""
    listed = [{"what": what, "places": places} for what, places in coverage.unmodelled]
    return {**asdict(coverage), "unmodelled": listed}


def replay_json(findings: Sequence[Found], outcomes: Sequence[Outcome], case: str) -> dict[str, Any]:
    """Return the object that ``emu replay --json`` prints; ``outcomes`` are by CPU."""
    return {
        "case": case,
        "verdict": verdict_word(findings),
        "cpus": [outcome_words(outcome) for outcome in outcomes],
        "findings": [finding_json(found.finding, found.case) for found in findings],
    }


def explore_suite(result: ExplorationResult, case: str, stories: Sequence[tuple[Found, list[str]]]) -> Suite:
    """Return a property for each rule; what was not covered is a note."""
    members = []
    for rule in RULES:
        own = [(found, lines) for found, lines in stories if found.finding.rule == rule]
        if own:
            details = tuple(line for _, lines in own for line in lines)
            members.append(Property(rule, Verdict.FAIL, finding_words(own[0][0].finding), details))
        elif result.undecided:
            members.append(Property(rule, Verdict.SKIP, f"undecided: {', '.join(result.incomplete)}"))
        elif SEES[rule] == "model" and not MODELS[Case.parse(case).memory].records:
            members.append(Property(rule, Verdict.SKIP, f"needs {models_with_records()}"))
        else:
            members.append(Property(rule))
    notes = summary(result, case)[:3]
    return Suite(Group(f"explore {case.split()[0]}", members), case, tuple(notes))
