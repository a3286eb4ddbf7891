"""The driver of a batch leaves alone what no instruction names, and keeps its own there."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_what_is_left_open import HWID, SCAN, TOML
from zoo import CORRECT, MUTANTS, under_test

from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.case import Question
from emu.lookup.driver import Driver, Places, named_registers
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


_RIGHT = (0, None)
_ASKED = [1 << 31, 1 << 31 | 5]  # CPU 0, and nobody
_NONE = 0xFEDC_BA98_7654_3210
_TO_NONE = "".join(f"movk x19, #{_NONE >> low & 0xFFFF:#x}, lsl #{low}\n" for low in (0, 16, 32, 48))
_FLAGS = TOML.replace("stack = 64\n", "stack = 64\npreserve_flags = true\n")
_SYMBOL = 'symbol = "__cpu_logical_map"\n'
_INPUT = TOML.replace(_SYMBOL, f'{_SYMBOL}base = "x6"\n')
_BROKEN: dict[str, tuple[str, str, str, list[int]]] = {  # between, scan, contract, who is answered wrongly
    "nothing": ("", SCAN, TOML, []),
    "a register": ("mov x22, #1\n", SCAN, TOML, [0, 1]),
    "a bit of a register": ("eor x28, x28, #1 << 63\n", SCAN, TOML, [0, 1]),
    "SP": ("sub sp, sp, #16\n", SCAN, TOML, [0, 1]),
    "an input": ("add x6, x6, #8\n", SCAN, _INPUT, [0, 1]),
    "the flags": ("", SCAN, _FLAGS, [0, 1]),
    "the index": (
        "",
        SCAN.replace("b.eq    found", "b.eq 3f").replace(
            "missing:", "b missing\n3: add x19, x19, #1\nb found\nmissing:"
        ),
        TOML,
        [0],
    ),
    "found too often": (
        "",
        SCAN.replace("        cmp     x19", "tbz x0, #2, 2f\nb found\n2: cmp x19"),
        TOML,
        [1],
    ),
    "found with the number of none": (
        "",
        SCAN.replace("missing:\n", f"{_TO_NONE}        b       found\nmissing:\n"),
        TOML,
        [1],
    ),
    "missed": ("cbz x0, missing\n", SCAN, TOML, [0]),
    "a load from nowhere": ("cbz x0, 4f\nmov x4, #0\nldr x4, [x4]\n4:\n", SCAN, TOML, [1]),
    "a store to the table": ("ldr x1, =__cpu_logical_map\nstr x0, [x1]\n", SCAN, TOML, [0, 1]),
    "a store below the stack": (
        "cbnz x0, 4f\nsub x4, sp, #2, lsl #12\nstr x0, [x4]\n4:\n",
        SCAN,
        TOML,
        [0],
    ),
    "no exit": ("cbz x0, .\n", SCAN, TOML, [0]),
    "undefined": ("cbz x0, 4f\nudf #0\n4:\n", SCAN, TOML, [1]),
}


@pytest.mark.parametrize("own", [True, False], ids=["own", "cells"])
@pytest.mark.parametrize("broken", _BROKEN)
def test_each_promise_that_is_broken_is_told(
    tmp_path: Path, broken: str, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that break it, and of no other; asked often, so that one does not hide the next."""
    if not own:
        monkeypatch.setattr("emu.lookup.driver.named_registers", lambda target: frozenset(range(31)))
    between, scan, contract, wrong = _BROKEN[broken]
    source = tmp_path / "user.S"
    source.write_text(HWID + between + scan)
    source.with_suffix(".toml").write_text(contract)
    built = UnderTest(str(source)).at(2)
    assert (built.batch._driver.left is not None) == own
    times = 1 if broken == "no exit" else 3  # what has hung once is not asked on
    expected = [place + 2 * time for time in range(times) for place in wrong]
    assert built.wrong_of(_RIGHT, _ASKED * times) == expected
    for place, mpidr in enumerate(_ASKED):
        right = built.expected(_RIGHT, [mpidr])[0]
        said = judge(built.single.ask(Question(_RIGHT, mpidr), STARTS[1]), right, built.target)
        assert (said is not None) == (place in wrong), said


def test_the_driver_fits_its_page() -> None:
    for name in ("v2", "v3", "rfc"):
        target = UnderTest(name).at(4096).target
        assert len(Driver(target, Places(1 << 30, (1 << 30) + 4096, 1 << 19)).code) <= 4096
