"""The result of a litmus test as herd prints it, and as JSON.

herd's ``Time`` is left out: the same test gives the same text. Its counts are of executions, which are ways
to read and to overwrite; ours are of final states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from emu.litmus.condition import KINDS
from emu.litmus.run import LitmusResult


def result_lines(result: LitmusResult) -> Iterator[str]:
    """Yield the lines that herd7 prints for a test, without the time that it took."""
    test, positive, negative = result.test, result.positive, result.negative
    forbids = KINDS[test.condition.quantifier] == "Forbidden"
    witnesses = (negative, positive) if forbids else (positive, negative)
    yield f"Test {test.name} {test.condition.kind}"
    yield f"States {len(result.states)}"
    for state in result.states:
        yield " ".join(f"{at}={value};" for at, value in zip(test.shown, state.values, strict=True))
    yield "Ok" if result.validated else "No"
    yield "Witnesses"
    yield "Positive: {} Negative: {}".format(*witnesses)
    yield f"Condition {test.condition}"
    yield f"Observation {test.name} {result.observation} {positive} {negative}"
    if "Hash" in test.info:
        yield f"Hash={test.info['Hash']}"
    yield ""


def warnings(result: LitmusResult) -> Iterator[str]:
    """Yield what is to be said of a result besides: ends that are no final states, and what is left out."""
    file = result.test.file
    for why in result.others:
        yield f"{file}: {why}: such an end is no final state"
    for why in result.incomplete:
        yield f"{file}: incomplete: {why}: states may be missing"


def result_json(result: LitmusResult) -> dict[str, Any]:
    """Return the result as JSON has it."""
    test = result.test
    return {
        "name": test.name,
        "file": test.file,
        "model": result.model,
        "cpu": result.core,
        "kind": test.condition.kind,
        "condition": str(test.condition),
        "validated": result.validated,
        "observation": result.observation,
        "positive": result.positive,
        "negative": result.negative,
        "states": [
            {str(at): value for at, value in zip(test.shown, state.values, strict=True)}
            for state in result.states
        ],
        "others": result.others,
        "complete": not result.incomplete,
        "incomplete": result.incomplete,
        "schedules": result.schedules,
    }


def summary(results: Iterable[LitmusResult], failed: int) -> str:
    """Return one line about many tests; ``failed``: how many did not run."""
    found = list(results)
    seen = Counter(result.observation for result in found)
    held = sum(result.validated for result in found)
    parts = [f"{seen[word]} {word}" for word in ("Never", "Sometimes", "Always") if seen[word]]
    text = f"{len(found)} tests: {', '.join(parts) or 'none ran'}; {held} Ok, {len(found) - held} No"
    return f"{text}; {failed} did not run" if failed else text
