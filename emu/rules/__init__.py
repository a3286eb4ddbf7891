"""Rules: pure functions of (case, trace). A module here is one, and :class:`Rule` is what it defines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from emu.finding import Finding, Verdict
from emu.registry import discover
from emu.trace import Trace


@dataclass(frozen=True, slots=True)
class Rule:
    """What a module of this folder defines.

    :ivar name: as findings and reports have it
    :ivar judge: the findings of one trace
    :ivar summary: what it looks for, in one line
    :ivar sees: what a trace must have beside events: ``operations``, ``caches``, or the ``states`` of an
        exploration
    """

    name: str
    judge: Callable[[str, Trace], list[Finding]]
    summary: str
    sees: str = "events"


RULES = discover(__name__, Rule)
SEES = {name: rule.sees for name, rule in RULES.items()}


def judge(case: str, trace: Trace, without: Collection[str] = ()) -> Verdict:
    """Let every rule but those ``without`` look at the trace; ``case`` is the case's text."""
    return Verdict(
        tuple(
            finding
            for name, rule in RULES.items()
            if name not in without
            for finding in rule.judge(case, trace)
        )
    )
