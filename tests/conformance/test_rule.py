"""What every rule keeps to: it only looks, it is silent on sound boots, and its findings are its own."""

from __future__ import annotations

import copy
from functools import cache

import pytest
from booting import Run, run

from emu.finding import Finding
from emu.report.words import finding_words
from emu.rules import RULES, SEEN, rules_of_marks
from emu.trace import Trace

every_rule = pytest.mark.parametrize("name", RULES)
SOUND = [
    "v3 topology=flat:3",
    "mainline topology=flat:3 el=2",
    "v2 topology=flat:3 scheduler=random:1 grain=operation memory=caches",
    "v3 topology=flat:3 enable-method=spin-table memory=caches",
    "context-id topology=flat:3 cycle=1",
    "v3 topology=vcpus:4 hotplug=3:add,3:online,1:offline",
]
BROKEN = [
    "mainline topology=flat:3 bringup=parallel force=1 scheduler=random:1 grain=operation",
    "v3 topology=flat:3 memory=caches fault=1:no-clean scheduler=random:2 grain=operation",
    "v2 topology=flat:4 fault=2:no-52bit-va",
    "rfc topology=flat:3 cycle=1",
    "rfc topology=boot-elsewhere:4",
    "v3 topology=flat:3 enable-method=spin-table fault=1:no-sev",
]


@cache
def booted(case: str) -> Run:
    return run(case, record=True)


def judged(name: str, trace: Trace) -> list[Finding]:
    return RULES[name].judge(trace)


@every_rule
def test_it_says_what_it_needs_to_see(name: str) -> None:
    assert RULES[name].sees in SEEN
    assert RULES[name].summary
    assert bool(RULES[name].marks) == (RULES[name].sees in ("states", "properties"))


def test_a_mark_is_for_one_rule() -> None:
    """An exploration looks there with the rule of the mark alone."""
    assert {kind: name for name, rule in RULES.items() for kind in rule.marks} == rules_of_marks()
    assert len(rules_of_marks()) == sum(len(rule.marks) for rule in RULES.values())


@every_rule
@pytest.mark.parametrize("case", SOUND)
def test_it_finds_nothing_in_a_sound_boot(name: str, case: str) -> None:
    done = booted(case)
    assert judged(name, done.boot.machine.trace) == []


@every_rule
@pytest.mark.parametrize("case", BROKEN)
def test_it_only_looks_and_says_the_same_twice(name: str, case: str) -> None:
    trace = booted(case).boot.machine.trace
    before = list(trace.rows()), copy.copy(trace.strings)
    first = judged(name, trace)
    assert judged(name, trace) == first
    assert (list(trace.rows()), trace.strings) == before
    cpus = range(len(booted(case).boot.machine.actors))
    for finding in first:
        assert finding.rule == name
        assert finding.what in RULES[name].words
        assert finding_words(finding)
        assert set(finding.cpus) <= set(cpus)


@every_rule
def test_it_finds_nothing_where_nothing_happened(name: str) -> None:
    assert judged(name, Trace("v3")) == []
