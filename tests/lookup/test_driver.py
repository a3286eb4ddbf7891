"""The driver of a batch leaves alone what no instruction names, and keeps its own there."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_what_is_left_open import HWID, SCAN, TOML
from zoo import CORRECT, MUTANTS, under_test

from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.case import Question
from emu.lookup.driver import Driver, named_registers
from emu.lookup.single import judge
from emu.lookup.starts import STARTS
from emu.lookup.tables import DoesNotFit


def _lookup(folder: Path, between: str, scan: str = SCAN) -> UnderTest:
    source = folder / "user.S"
    source.write_text(HWID + between + scan)
    source.with_suffix(".toml").write_text(TOML)
    return UnderTest(str(source))


def test_named_are_the_numbers_in_any_field(tmp_path: Path) -> None:
    """0xffff of a MOVZ is in a field as well: 31, which is no X register; so are shifts."""
    named = named_registers(_lookup(tmp_path, "add x9, x10, x11\n").at(2).target)
    assert {0, 1, 2, 3, 9, 10, 11, 19} <= named
    assert len(named) < 31


@pytest.mark.parametrize(
    "between",
    [
        "bl 3f\n3:\n",
        "adr x9, 3f\nbr x9\n3:\n",
        "adr x9, 3f\nblr x9\n3:\n",
        "ldxr x9, [sp]\n",
        "casp x4, x5, x6, x7, [sp]\n",
    ],
    ids=["bl", "br", "blr", "ldxr", "casp"],
)
def test_what_changes_or_goes_where_it_does_not_name_may_name_all(tmp_path: Path, between: str) -> None:
    text = f".arch armv8.1-a\n{between}" if "casp" in between else between
    assert named_registers(_lookup(tmp_path, text).at(2).target) == frozenset(range(31))


@pytest.mark.parametrize("own", [True, False], ids=["own", "cells"])
def test_both_ways_of_the_driver_say_the_same(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every look-up of the zoo, right and wrong, what one at a time says."""
    if not own:
        monkeypatch.setattr("emu.lookup.driver.named_registers", lambda target: frozenset(range(31)))
    used = 0
    for path in (*CORRECT[::3], *MUTANTS[::5]):
        lookup = under_test(path)
        built = lookup.at(min(size for size in lookup.sizes if size > 1))
        used += built.batch._driver.left is not None
        for logical_map in list(small_maps(built.nr_cpus))[:40:6]:
            try:
                found = set(built.wrong_of(logical_map, MPIDRS))
            except DoesNotFit:
                continue
            for place in range(0, len(MPIDRS), 11):
                question = Question(logical_map, MPIDRS[place])
                right = built.expected(logical_map, [question.mpidr])[0]
                wrong = judge(built.single.ask(question, STARTS[1]), right, built.target)
                if wrong is None or wrong.prop in ("answer", "registers"):
                    assert (place in found) == (wrong is not None), (path.name, question, wrong)
    assert bool(used) == own


def test_a_register_that_is_changed_is_seen_whether_it_is_named_once_or_often(tmp_path: Path) -> None:
    """x22 is one that the driver would have taken; x28 stays as it is."""
    built = _lookup(tmp_path, "add x22, x22, #1\n").at(2)
    assert built.wrong_of((0, None), [1 << 31, 1 << 31 | 5]) == [0, 1]
    assert _lookup(tmp_path, "").at(2).wrong_of((0, None), [1 << 31, 1 << 31 | 5]) == []


def test_the_driver_fits_its_page() -> None:
    for name in ("v2", "v3", "rfc"):
        target = UnderTest(name).at(4096).target
        assert len(Driver(target, 1 << 30, (1 << 30) + 4096).code) <= 4096
