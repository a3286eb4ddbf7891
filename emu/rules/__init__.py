"""Rules: pure functions of a trace. A module of this folder is one; :class:`Rule` says what it defines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from emu.finding import Finding, Verdict
from emu.operation import Kind
from emu.registry import discover, part_of
from emu.trace import Trace


@dataclass(frozen=True, slots=True)
class Rule:
    """What a module of this folder defines.

    :ivar name: as findings and reports have it
    :ivar judge: the findings of one trace
    :ivar words: a template for each ``what`` of its findings; its fields are the finding's ``cpus`` and data
    :ivar summary: what it looks for, in one line
    :ivar fix: what would keep each ``what`` from happening, where that can be said
    :ivar sees: what a trace must have beside events, one of SEEN: ``operations``, the records that a memory
        ``model`` makes, ``hotplug``, ``kexec``, the ``states`` of an exploration, or a user's ``properties``
    :ivar marks: kinds of records that an exploration ends a trace with for this rule
    :ivar identity: names in the data of its findings: those that agree in them are one to an exploration,
        which does not go through every order that would tell other values; none: all data and CPUs count
    """

    name: str
    judge: Callable[[Trace], list[Finding]]
    words: Mapping[str, str]
    summary: str
    fix: Mapping[str, str] = field(default_factory=dict)
    sees: str = "events"
    marks: frozenset[Kind] = frozenset()
    identity: tuple[str, ...] = ()


BESIDES = ("bytes_stored",)
SEEN = ("events", "operations", "model", "hotplug", "kexec", "states", "properties")
RULES = discover(__name__, Rule)
SEES = part_of(RULES, lambda rule: rule.sees)
WORDS = part_of(RULES, lambda rule: rule.words)
FIXES = part_of(RULES, lambda rule: rule.fix)


@cache
def rules_of_marks() -> dict[Kind, str]:
    """Return the rule that each kind of mark is for."""
    return {kind: name for name, rule in RULES.items() for kind in rule.marks}


def identity(finding: Finding) -> Hashable:
    """Return what an exploration tells one finding from another by, whatever order has shown it first."""
    names = RULES[finding.rule].identity
    if not names:
        return finding.key
    return (finding.rule, finding.boot, *(finding[name] for name in names))


def judge(
    trace: Trace, without: Collection[str] = (), turns: Callable[[Iterable[str]], Iterable[str]] = iter
) -> Verdict:
    """Let every rule but those ``without`` look at the trace.

    :param turns: goes through the names of the rules, so that it can end the judgement between two
    """
    rules = (RULES[name] for name in turns(RULES) if name not in without)
    return Verdict(tuple(finding for rule in rules for finding in rule.judge(trace)))
