"""What an exploration says that it has not covered: each kind is told, and its twin is not."""

from __future__ import annotations

import json

import pytest
from exploring import explorer_of
from programs import run_emu

from emu.explore.coverage import INSTRUCTION_CACHES, PUBLICATION, SET_WAY, TLBS
from emu.explore.search import Bounds

BOTH = "ldr x1, [x0, #8]\n ldr x2, [x0]\n b ."
ONE = "ldr x1, [x0, #8]\n b ."
PUBLISH = "str x1, [x0]\n {}\n str x1, [x0, #8]\n b ."


def unmodelled(*programs: str, cached: bool = False) -> dict[str, int]:
    result = explorer_of(list(programs), cached=cached).search(Bounds(failures=1), everything=True)
    assert result.complete
    assert result.coverage is not None
    assert (result.coverage.model, result.coverage.cpus) == (
        "caches" if cached else "coherent",
        len(programs),
    )
    return dict(result.coverage.unmodelled)


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        (("stp x1, x1, [x0]\n b .", BOTH), {}),  # in both orders
        (("ldp x1, x2, [x0]\n b .", "str x1, [x0]\n str x1, [x0, #8]\n b ."), {PUBLICATION: 1}),
        (
            ("stp x1, x1, [x0]\n str x1, [x0, #16]\n b .", "ldr x1, [x0, #16]\n ldr x1, [x0]\n b ."),
            {PUBLICATION: 1},
        ),
        ((PUBLISH.format("nop"), BOTH), {PUBLICATION: 1}),
        ((PUBLISH.format("dmb ishld"), BOTH), {PUBLICATION: 1}),  # keeps no stores apart
        ((PUBLISH.format("dmb ishst"), BOTH), {}),
        ((PUBLISH.format("dsb sy"), BOTH), {}),
        ((PUBLISH.format("nop"), ONE), {}),
        (("add x3, x0, #8\n str x1, [x0]\n stlr x1, [x3]\n b .", BOTH), {}),
        (("tlbi vmalle1\n ic iallu\n b .", "nop\n b ."), {TLBS: 1, INSTRUCTION_CACHES: 1}),
        (("mov x1, #0\n dc csw, x1\n b .", "nop\n b ."), {SET_WAY: 1}),
        (("dc cvac, x0\n b .", "nop\n b ."), {}),
    ],
)
def test_what_is_executed_and_not_modelled_is_told_by_its_places(
    programs: tuple[str, ...], expected: dict[str, int]
) -> None:
    assert unmodelled(*programs) == expected
    assert unmodelled(*programs, cached=True) == expected


def test_the_report_says_model_cpus_bounds_and_what_is_not_modelled() -> None:
    words = ["explore", "v3", "--cpus", "3", "--memory", "caches", "--early", "2", "--failures", "3"]
    text = run_emu(*words).stdout
    assert (
        "model: caches, 3 CPUs in program order; a STXR fails at most 3 times in a row; 2\n"
        "  time-outs or wake-ups may come early\n"
    ) in text
    assert "not modelled: instruction caches (1 place); TLBs (1 place)\n" in text
    found = json.loads(run_emu(*words, "--json").stdout)["coverage"]
    assert found == {
        "model": "caches",
        "cpus": 3,
        "failures": 3,
        "early": 2,
        "unmodelled": [{"what": INSTRUCTION_CACHES, "places": 1}, {"what": TLBS, "places": 1}],
    }
