"""The fast path and the one that looks at everything: the same answers, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from zoo import CORRECT, MUTANTS, under_test

from emu.fuzz.built_lookup import BuiltLookup
from emu.fuzz.questions import random_map, random_mpidrs
from emu.lookup.case import Question
from emu.lookup.single import Wrong, judge
from emu.lookup.starts import STARTS
from emu.lookup.tables import DoesNotFit

MAPS, MPIDRS = 3, 8  # of each NR_CPUS
# What the fast path cannot see: a bound, an access in the page of a table, and that an address is unaligned.
SLOW_ONLY = ("memory", "bound")


def one_by_one(
    built: BuiltLookup, logical_map: tuple[int | None, ...], mpidrs: Sequence[int]
) -> list[Wrong | None]:
    """Return what is wrong with each answer, asked with what the registers hold on the fast path."""
    expected = built.expected(logical_map, mpidrs)
    return [
        judge(built.single.ask(Question(logical_map, mpidr), STARTS[1]), right, built.target)
        for mpidr, right in zip(mpidrs, expected, strict=True)
    ]


@pytest.mark.parametrize("path", [*CORRECT, *MUTANTS], ids=lambda path: path.stem)
def test_both_paths_agree_case_by_case(path: Path) -> None:
    """A batch that hangs leaves out the rest; up to there the two say the same."""
    lookup = under_test(path)
    rng = Random(5)
    asked = 0
    # With more entries the quadratic one takes so much more than its bound that it is taken to hang.
    sizes = [size for size in lookup.sizes if size <= (16 if path.stem == "quadratic" else 300)]
    for nr_cpus in dict.fromkeys([*sizes[:3], sizes[-1]]):
        built = lookup.at(nr_cpus)
        for _ in range(MAPS):
            logical_map = random_map(rng, nr_cpus)
            mpidrs = random_mpidrs(rng, logical_map, MPIDRS)
            try:
                fast = built.wrong_of(logical_map, mpidrs)
            except DoesNotFit:
                continue
            slow = one_by_one(built, logical_map, mpidrs)
            hang = next((place for place, wrong in enumerate(slow) if hangs(wrong)), MPIDRS)
            for place, wrong in enumerate(slow[: hang + 1]):
                asked += 1
                if wrong is None:
                    assert place not in fast, (nr_cpus, logical_map, hex(mpidrs[place]))
                elif wrong.prop not in SLOW_ONLY and "unaligned" not in wrong.text:
                    assert place in fast, (nr_cpus, logical_map, hex(mpidrs[place]), wrong)
    assert asked


@pytest.mark.parametrize("path", CORRECT, ids=lambda path: path.stem)
def test_both_paths_agree_in_large_tables(path: Path) -> None:
    """As many CPUs as there may be: many questions on the fast path, a few of them on the other."""
    lookup = under_test(path)
    built, rng = lookup.at(lookup.sizes[-1]), Random(6)
    fitting = 0
    for _ in range(12):
        logical_map = random_map(rng, built.nr_cpus)
        mpidrs = random_mpidrs(rng, logical_map, 512)
        try:
            assert built.wrong_of(logical_map, mpidrs) == []
        except DoesNotFit:
            continue
        fitting += 1
        assert one_by_one(built, logical_map, mpidrs[:2]) == [None, None]
    assert fitting


def hangs(wrong: Wrong | None) -> bool:
    """Tell whether code never ended."""
    return wrong is not None and wrong.text.startswith("no exit")
