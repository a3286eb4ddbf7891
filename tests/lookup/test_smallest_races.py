"""A reported run in which the table changes is the smallest: confirmed by trying all smaller ones.

The order is that of docs/campaigns.md, written again; nothing of emu.fuzz.shrink_race and emu.fuzz.size is
used. All of NR_CPUS <= 4 are tried that have no more stores and CPUs, two bits or less in their hwids, and a
store at any place in the reads of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path

import pytest
from contracts import contract_toml
from test_torn_reads import READS, TEXT
from zoo import CASE_LINE_MAX, FOLDER, case_line

from emu.errors import InvalidCase
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.race import Race, ask_case
from emu.fuzz.search import LookupSearch
from emu.fuzz.shrink_race import shrink_race
from emu.fuzz.size import size_of
from emu.lookup.case import LookupCase, Question
from emu.lookup.tear import Change, Changes
from emu.report.lookup import case_of

BITS = [*range(24), *range(32, 40)]
FIELDS = [0, 8, 16, 32]
HWID = sum(1 << bit for bit in BITS)
USUAL = 1 << 31
Rank = tuple[object, ...]

# Looks at an entry twice: whether there is a CPU, then who it is; and takes the place of the first look.
TWICE = "ldr x3, [x4]\n cmn x3, #1\n b.eq 9f\n ldr w3, [x4]\n ldr w5, [x4, #4]\n orr x3, x3, x5, lsl #32"
# Finds by the low half, then looks whether the whole is still there, in the entry behind: two entries.
NEXT = "ldr x3, [x4]\n cmp w3, w0\n b.ne 9f\n ldr x3, [x4]\n mov x5, x0\n bfi x3, x5, #0, #32"
TORN = {
    "two LDR of W": READS["two LDR of W"].torn,
    "LDP of W": READS["LDP of W"].torn,
    "bytes": READS["bytes"].torn,
    "whole, twice": READS["whole, twice"].torn,
    "halves behind a look": TWICE,
    "the low half of the first look": NEXT,
}
QUICK = ("two LDR of W", "LDP of W")


def rank(nr_cpus: int, question: Question, changes: Changes) -> Rank:
    """The order of docs/campaigns.md."""
    there = [(cpu, hwid) for cpu, hwid in enumerate(question.logical_map) if hwid is not None]
    stored = [(each.cpu, each.hwid) for each in changes.each]
    values = [hwid for _cpu, hwid in (*there, *stored) if hwid is not None] + [question.mpidr & HWID]
    return (
        nr_cpus,
        len(there),
        len(stored),
        sum(bin(value).count("1") for value in values),
        sum(cpu for cpu, _hwid in (*there, *stored)),
        sum(values),
    )


def runs(
    nr_cpus: int, cpus: int, stores: int, bits: int, where: list[int], parts: list[int]
) -> Iterator[tuple[Question, Changes]]:
    """All with so many CPUs at the start, stores and bits, these at ``where``."""
    count = cpus + stores + 1
    whens = [(read, part) for read in range(3 * nr_cpus) for part in parts]
    for chosen in combinations([(which, bit) for which in range(count) for bit in where], bits):
        values = [sum(1 << bit for which, bit in chosen if which == each) for each in range(count)]
        for places in combinations(range(nr_cpus), cpus):
            logical_map: list[int | None] = [None] * nr_cpus
            for place, hwid in zip(places, values, strict=False):
                logical_map[place] = hwid
            question = Question(tuple(logical_map), values[-1] | USUAL)
            for emptied in product((False, True), repeat=stores):
                for at in product(range(nr_cpus), repeat=stores):
                    for when in combinations_with_replacement(whens, stores):
                        rows = zip(at, values[cpus:], emptied, when, strict=False)
                        each = (
                            Change(cpu, None if gone else hwid, *place) for cpu, hwid, gone, place in rows
                        )
                        yield question, Changes(tuple(each))


def smaller_ones(
    under_test: UnderTest, found: Checked, where: list[int]
) -> list[tuple[int, Question, Changes]]:
    """Every smaller run of those whose answer is wrong in the same way."""
    assert isinstance(found.race, Changes)
    most, broken = rank(found.nr_cpus, found.question, found.race), []
    cpus_max, bits_max = most[1], most[3]
    assert isinstance(cpus_max, int)
    assert isinstance(bits_max, int)
    parts = [0, 1, -1] if any(each.parts for each in found.race.each) else [0]
    for nr_cpus in range(1, found.nr_cpus + 1):
        race = Race(under_test.at(nr_cpus))
        for cpus in range(min(cpus_max, nr_cpus) + 1):
            for stores in range(1, len(found.race.each) + 1):
                for bits in range(min(2, bits_max) + 1):
                    for question, changes in runs(nr_cpus, cpus, stores, bits, where, parts):
                        if rank(nr_cpus, question, changes) >= most:
                            continue
                        try:
                            checked = race.run(changes, question)
                        except InvalidCase:  # a hwid is there twice
                            continue
                        if checked.wrong is not None and checked.answer.exit == found.answer.exit:
                            broken.append((nr_cpus, question, changes))
    return broken


def written(folder: Path, read: str) -> str:
    source = folder / "user.S"
    source.write_text(TEXT.format(read=read, shift=3))
    bound = 'instructions_max = "60 * NR_CPUS + 60"'
    sweep = "{ default = 4, sweep = [1, 2, 3, 4] }"
    source.with_suffix(".toml").write_text(contract_toml(range(9), nr_cpus=sweep, lookup=bound))
    return str(source)


def wrong_runs(under_test: UnderTest, nr_cpus: int, most: int) -> list[Checked]:
    """Tears, and runs of seeds, that are wrong."""
    race = Race(under_test.at(nr_cpus))
    torn = [checked for tear in race.tears() if (checked := race.run(tear)).wrong is not None]
    drawn = [checked for seed in range(600) if (checked := race.run(seed)).wrong is not None]
    return torn[:most] + drawn[:most]


@pytest.mark.parametrize("name", TORN)
def test_no_smaller_run_is_wrong(tmp_path: Path, name: str) -> None:
    """Of any that is met, and with bits at the lowest places of each field, which tears tell apart."""
    under_test = UnderTest(written(tmp_path, TORN[name]))
    shrunk = {case_line(under_test, shrink_race(under_test, each)) for each in wrong_runs(under_test, 4, 4)}
    assert shrunk
    for line in shrunk:
        assert len(line) <= CASE_LINE_MAX
        case = replace(LookupCase.parse(line), subject=under_test.name)
        found = ask_case(UnderTest(under_test.name), case)
        assert found.wrong is not None
        assert found.nr_cpus <= 4
        assert smaller_ones(under_test, found, FIELDS) == [], line


@pytest.mark.parametrize("name", QUICK)
def test_no_smaller_run_of_any_bits_is_wrong(tmp_path: Path, name: str) -> None:
    under_test = UnderTest(written(tmp_path, TORN[name]))
    found = shrink_race(under_test, wrong_runs(under_test, 2, 1)[0])
    assert found.nr_cpus == 1
    assert smaller_ones(under_test, found, BITS) == []


def test_a_larger_run_is_told_by_the_enumeration(tmp_path: Path) -> None:
    """Planted: the run of a tear as it is met, of one CPU in four, with all its bits."""
    under_test = UnderTest(written(tmp_path, TORN["two LDR of W"]))
    race = Race(under_test.at(2))
    met = wrong_runs(under_test, 2, 1)[0]
    in_steps = race.in_steps(met)
    assert in_steps is not None
    question, changes = in_steps
    found = race.run(changes, question)
    assert found.wrong is not None
    assert smaller_ones(under_test, found, FIELDS)


def test_a_search_tells_the_smallest_run() -> None:
    """Its line is short, says all of the run, and is asked again alike."""
    path = FOLDER / "mutants" / "torn_halves.S"
    search = LookupSearch(UnderTest(str(path)))
    for _ in search.run([2, 3], 1000, seed=1):
        pass
    (found,) = search.findings
    line = case_line(search.under_test, found)
    assert line == "torn_halves.S nr-cpus=1 race=0:0x100000000@1 map=0x1 mpidr=0x80000000"
    again = ask_case(UnderTest(str(path)), case_of(search.under_test, found, "", ""))
    assert again == found
    assert again.wrong is not None
    assert again.wrong.text.endswith("the store comes after 1 read of the table")


@pytest.mark.parametrize("seed", range(40))
def test_a_run_as_stores_one_by_one_is_the_same_run(tmp_path: Path, seed: int) -> None:
    """Whatever is found, and right answers too."""
    under_test = UnderTest(written(tmp_path, READS["LDP of W"].torn))
    race = Race(under_test.at(3))
    drawn = race.run(seed)
    in_steps = race.in_steps(drawn)
    if in_steps is None:
        return
    question, changes = in_steps
    again = race.run(changes, question)
    assert (again.answer.exit, again.answer.index) == (drawn.answer.exit, drawn.answer.index)
    assert (again.wrong is None) == (drawn.wrong is None)


@pytest.mark.parametrize(
    "race",
    ["0@1", "0:1@1", "0:0x1@", "0:0x1@1+0", "0:0x1@1,", "2:0x1@0", "0:0x2@0", "0:0x80000000@0", "0:-@x"],
)
def test_a_run_that_is_none_is_refused(tmp_path: Path, race: str) -> None:
    """Malformed, of a CPU that there is not, a hwid there twice or none."""
    name = written(tmp_path, READS["two LDR of W"].torn)
    with pytest.raises(InvalidCase, match="race"):
        ask_case(
            UnderTest(name), LookupCase.parse(f"{name} nr-cpus=2 race={race} map=-,0x2 mpidr=0x80000000")
        )


def test_a_run_is_text_and_back() -> None:
    """With its map and who asks, which no seed gives."""
    changes = Changes((Change(0, 0x100, 2), Change(1, None, 2, 1), Change(1, 5, 3, -1)))
    case = LookupCase("user.S", 2, Question((1, 5), USUAL | 1), race=changes)
    assert case.text() == "user.S nr-cpus=2 race=0:0x100@2,1:-@2+1,1:0x5@3-1 map=0x1,0x5 mpidr=0x80000001"
    assert LookupCase.parse(case.text()) == case
    with pytest.raises(InvalidCase, match="mpidr"):
        LookupCase.parse("user.S nr-cpus=2 race=0:0x100@2")
    later = case.question, Changes((*changes.each[:2], Change(1, 5, 4)))
    assert size_of(case) < size_of(LookupCase("user.S", 2, later[0], race=later[1]))
