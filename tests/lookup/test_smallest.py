"""A reported counterexample is the smallest: confirmed by asking all smaller questions, one by one.

The order is that of docs/campaigns.md, written again; nothing of emu.fuzz.shrink and emu.fuzz.size is used.
All of NR_CPUS <= 4 are asked that have two bits or less in their hwids and the one that asks, with the flags
of most machines, and with one flag changed where that is one bit or less.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest
from test_zoo import MUTANTS
from zoo import CASE_LINE_MAX, FOLDER, case_line, search

from emu.errors import AssemblyError
from emu.fuzz.built_lookup import BuiltLookup, Checked, UnderTest
from emu.fuzz.phases import Phases
from emu.fuzz.shrink import shrink
from emu.lookup.case import Question
from emu.lookup.single import Wrong
from emu.lookup.tables import DoesNotFit

HWID_BITS = [*range(24), *range(32, 40)]
OTHER_BITS = [*range(24, 32), *range(40, 64)]
HWID = sum(1 << bit for bit in HWID_BITS)
USUAL = 1 << 31
Rank = tuple[int, ...]

LARGE = {"index_of_8_bits", "index_of_8_signed_bits", "unrolled_once", "quadratic"}
OTHERWISE = {"torn_halves", "flags_of_the_caller"}  # a table that changes; what is found at entry
SMALL = sorted(set(MUTANTS) - LARGE - OTHERWISE)
QUICK = ("mask_one_bit_short", "scratch_when_found", "checked_too_late")


def rank(nr_cpus: int, question: Question) -> Rank:
    """The order of docs/campaigns.md, from its third line on of what is as usual at entry."""
    there = [(cpu, hwid) for cpu, hwid in enumerate(question.logical_map) if hwid is not None]
    values = [hwid for _cpu, hwid in there] + [question.mpidr & HWID]
    bits = sum(bin(value).count("1") for value in values)
    flags = bin((question.mpidr & ~HWID) ^ USUAL).count("1")
    return nr_cpus, len(there), bits, sum(cpu for cpu, _hwid in there), sum(values), flags


def _values(count: int, bits: int) -> Iterator[tuple[int, ...]]:
    # So many hwids, with so many bits between them.
    for places in combinations([(which, bit) for which in range(count) for bit in HWID_BITS], bits):
        found = [0] * count
        for which, bit in places:
            found[which] |= 1 << bit
        yield tuple(found)


def questions(nr_cpus: int) -> Iterator[Question]:
    """All of this NR_CPUS within the bounds above, the smaller numbers of CPUs first."""
    for cpus in range(nr_cpus + 1):
        for bits in range(3):
            flags = [USUAL, *(USUAL ^ 1 << bit for bit in OTHER_BITS)] if bits < 2 else [USUAL]
            for *hwids, asks in _values(cpus + 1, bits):
                if len(set(hwids)) < cpus:
                    continue
                for places in combinations(range(nr_cpus), cpus):
                    logical_map: list[int | None] = [None] * nr_cpus
                    for place, hwid in zip(places, hwids, strict=True):
                        logical_map[place] = hwid
                    for flag in flags:
                        yield Question(tuple(logical_map), asks | flag)


def breaks(built: BuiltLookup, question: Question, how: Wrong) -> bool:
    try:
        wrong = built.check_from(question, ()).wrong
    except DoesNotFit:
        return False
    return wrong is not None and (wrong.prop, wrong.cause) == (how.prop, how.cause)


def smaller_ones(under_test: UnderTest, found: Checked) -> list[tuple[int, Question]]:
    """Every smaller question of those that breaks the same property in the same way."""
    assert found.wrong is not None
    most, broken = rank(found.nr_cpus, found.question), []
    for nr_cpus in range(1, found.nr_cpus + 1):
        try:
            built = under_test.at(nr_cpus)
        except AssemblyError:
            continue
        broken += [
            (nr_cpus, question)
            for question in questions(nr_cpus)
            if rank(nr_cpus, question) < most and breaks(built, question, found.wrong)
        ]
    return broken


def found_in(name: str) -> tuple[UnderTest, list[Checked]]:
    *_, done = search(FOLDER / "mutants" / f"{name}.S", 2000, nr_cpus_max=16)
    return done.under_test, done.findings


@pytest.mark.parametrize("name", SMALL)
def test_no_smaller_question_breaks_the_property(name: str) -> None:
    under_test, findings = found_in(name)
    assert findings
    for found in findings:
        assert found.nr_cpus <= 4
        assert found.begin == ()
        assert smaller_ones(under_test, found) == [], found.question


@pytest.mark.parametrize("name", QUICK)
def test_no_smaller_question_breaks_the_property_of_a_few(name: str) -> None:
    under_test, findings = found_in(name)
    for found in findings:
        assert smaller_ones(under_test, found) == [], found.question


def test_a_larger_question_is_told_by_the_enumeration() -> None:
    """Planted: the report is of one CPU too many, of one bit too many, of a place too high."""
    under_test, (found, *_) = found_in("stops_at_hole")
    built = under_test.at(2)
    assert found.question.logical_map == (None, 0)
    for logical_map, mpidr in (((None, 1), USUAL | 1), ((None, 0), USUAL | 1 << 30)):
        larger = built.check_from(Question(logical_map, mpidr), ())
        assert larger.wrong is not None
        assert smaller_ones(under_test, larger)


@pytest.mark.parametrize("name", ["mask_misplaced", "hash_shift_swapped", "mask_with_mt", "skips_zero"])
def test_any_wrong_question_shrinks_to_the_same(name: str) -> None:
    """Drawn at random among 16 CPUs: the rank that the search's has, whatever it begins with."""
    under_test, findings = found_in(name)
    drawn = Phases(under_test)
    for seed in range(8):
        for _ in drawn.random([under_test.at(16)], 8000, Random(seed), 75):
            pass
        drawn.known.clear()
        drawn.causes = 0
    compared = 0
    smallest = {found.wrong.cause: rank(found.nr_cpus, found.question) for found in findings if found.wrong}
    assert drawn.met
    for checked in drawn.met:
        again = shrink(under_test, checked)
        assert again.wrong is not None
        if (known := smallest.get(again.wrong.cause)) is not None:
            assert rank(again.nr_cpus, again.question) == known, again.question
            compared += 1
    assert compared


def test_an_answer_does_not_depend_on_what_was_asked_before() -> None:
    """What a wrong look-up stored in its table is not there when the same map is asked again."""
    built = UnderTest(str(FOLDER / "mutants" / "empties_the_entry.S")).at(1)
    question = Question((0,), USUAL)
    first, again = (built.check_from(question, ()) for _ in range(2))
    assert first == again
    assert first.wrong is not None
    assert first.wrong.prop == "memory"


@pytest.mark.parametrize("name", [*QUICK, "flags_of_the_caller", "quadratic"])
def test_case_lines_are_short(name: str) -> None:
    """test_zoo.py has those of all mutants."""
    under_test, findings = found_in(name)
    assert findings
    for found in findings:
        assert len(case_line(under_test, found)) <= CASE_LINE_MAX


def test_the_enumeration_has_every_question_once() -> None:
    """Counted by hand: for one CPU 1 + 64 + 64 * 63 / 2 pairs of hwids, the first 65 with 33 flags."""
    alone = [question for question in questions(1) if question.logical_map != (None,)]
    assert len(alone) == 65 * 33 + 64 * 63 // 2
    assert len(set(alone)) == len(alone)
