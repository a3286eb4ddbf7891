"""Kinds of bugs whose exploration once said "complete", in other words: each next to its repaired twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from emu.explore import explore
from emu.report.story import story_of

X = "adr x1, x\n"
XY = "adr x1, x\nadr x2, y\n"
M61 = 2**61 - 1


@dataclass(frozen=True, slots=True)
class Case:
    """Programs with a bug that ``rule`` tells, and what repairs them: other text, by what it replaces."""

    programs: dict[str, str]
    rule: str
    repair: tuple[str, str]
    memory: dict[str, int] = field(default_factory=lambda: {"x": 0, "y": 0})
    properties: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def two(first: str, second: str) -> dict[str, str]:
    """Programs of CPU0 and CPU1."""
    return {"cpu0": first, "cpu1": second}


CASES = {
    "values that are one number to Python's hash": Case(
        two(
            f"{X}mov x3, #{M61}\nldr x4, [x1]\ncbnz x4, 1f\nstr x3, [x1]\n1:",
            f"{X}ldr x3, [x1]\ncbz x3, 1f\nmov x5, #1\nadr x2, y\nstr x5, [x2]\n1:",
        ),
        "property",
        (f"mov x3, #{M61}", "mov x3, #0"),
        properties=("finally [y] == 0",),
    ),
    "a ticket that nobody serves": Case(
        two(
            f"{XY}1: ldaxr x3, [x1]\nadd x4, x3, #1\nstxr w5, x4, [x1]\ncbnz w5, 1b\n"
            "2: ldar x6, [x2]\ncmp x6, x3\nb.ne 2b\nadd x6, x6, #1\nstlr x6, [x2]",
            f"{XY}3: ldaxr x3, [x1]\nadd x4, x3, #1\nstxr w5, x4, [x1]\ncbnz w5, 3b\n"
            "4: ldar x6, [x2]\ncmp x6, x3\nb.ne 4b",
        ),
        "stuck",
        ("b.ne 4b", "b.ne 4b\nadd x6, x6, #1\nstlr x6, [x2]"),
    ),
    "an update through another register": Case(
        two(
            f"{X}ldr w3, [x1]\nmov w4, w3\norr w5, w4, #1\nstr w5, [x1]",
            f"{X}1: ldaxr w3, [x1]\norr w3, w3, #2\nstlxr w4, w3, [x1]\ncbnz w4, 1b",
        ),
        "lost-update",
        (
            "ldr w3, [x1]\nmov w4, w3\norr w5, w4, #1\nstr w5, [x1]",
            "9: ldaxr w3, [x1]\nmov w4, w3\norr w5, w4, #1\nstlxr w6, w5, [x1]\ncbnz w6, 9b",
        ),
    ),
    "a store-exclusive that is taken for done": Case(
        two(f"{X}ldxr x3, [x1]\nmov x3, #1\nstxr w4, x3, [x1]", "nop"),
        "property",
        (
            "ldxr x3, [x1]\nmov x3, #1\nstxr w4, x3, [x1]",
            "1: ldxr x3, [x1]\nmov x3, #1\nstxr w4, x3, [x1]\ncbnz w4, 1b",
        ),
        properties=("finally [x] == 1",),
    ),
    "a pen that sleeps before it looks": Case(
        two(
            f"{X}mov x3, #1\nstr x3, [x1]\ndsb sy\nsev",
            f"{X}wfe\n1: wfe\nldr x3, [x1]\ncbz x3, 1b",
        ),
        "stuck",
        ("wfe\n1: wfe\nldr x3, [x1]\ncbz x3, 1b", "1: ldr x3, [x1]\ncbnz x3, 2f\nwfe\nb 1b\n2:"),
    ),
    "an event before the store": Case(
        two(
            f"{X}mov x3, #1\nsev\nstr x3, [x1]",
            f"{X}1: ldr x3, [x1]\ncbnz x3, 2f\nwfe\nb 1b\n2:",
        ),
        "stuck",
        ("sev\nstr x3, [x1]", "str x3, [x1]\ndsb sy\nsev"),
    ),
    "two that wait for each other": Case(
        two(
            f"{XY}1: ldr x3, [x2]\ncbz x3, 1b\nmov x4, #1\nstr x4, [x1]",
            f"{XY}2: ldr x3, [x1]\ncbz x3, 2b\nmov x4, #1\nstr x4, [x2]",
        ),
        "stuck",
        (
            "1: ldr x3, [x2]\ncbz x3, 1b\nmov x4, #1\nstr x4, [x1]",
            "mov x4, #1\nstr x4, [x1]\n1: ldr x3, [x2]\ncbz x3, 1b",
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_and_its_twin_passes(name: str) -> None:
    case = CASES[name]
    done = explore(case.programs, case.memory, case.properties, **case.options)
    rules = [finding.rule for finding in done.findings]
    assert (done.complete, case.rule in rules) == (True, True), rules
    assert f"finding ({case.rule})" in story_of(done, rules.index(case.rule))
    old, new = case.repair
    twin = {who: text.replace(old, new) for who, text in case.programs.items()}
    assert twin != case.programs
    explore(twin, case.memory, case.properties, **case.options).assert_pass()
