"""Locks of exclusives: what a search leaves out of their loops, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest
from exploring import X, Y, explore, explorer_of, task
from naive import Thread
from naive_compare import difference_of

from emu.case import Case
from emu.explore import alone, variants
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.operation import Store, StoreExclusive

LOCK = """
l:  ldxr x1, [x0]
    cbnz x1, l
    mov x1, #1
    stxr w2, x1, [x0]
    cbnz w2, l
    ldr x3, [x0, #256]
    add x3, x3, #1
    str x3, [x0, #256]
    str xzr, [x0]
    b .
"""


def test_a_lock_counts_every_owner_in_few_schedules() -> None:
    """Who looks at a lock that is held, and whose store fails for want of a monitor, makes no order."""
    count, ends = explore(explorer_of([LOCK] * 3), X, Y)
    assert {words for words, _ in ends.seen} == {(0, 3)}
    assert count.schedules < 400


def test_an_owner_that_opens_the_lock_twice_lets_two_in() -> None:
    rude = LOCK.replace("    ldr x3", "    str xzr, [x0]\n    ldr x3")
    _, ends = explore(explorer_of([rude] * 2), X, Y)
    assert {words for words, _ in ends.seen} == {(0, 1), (0, 2)}


def test_exclusive_loads_alone_have_one_order() -> None:
    count, _ = explore(explorer_of(["ldxr x1, [x0]\n b ."] * 3), X)
    assert (count.complete, count.joined) == (1, 0)


# A store to the word that the monitor is armed for is an event only before the store-exclusive elsewhere.
ELSEWHERE = [
    Thread((("st", 0, 3),)),
    Thread((("lx", 0, 0), ("sx", 0, 2, 2), ("wfe",))),
]


def test_a_store_exclusive_that_clears_a_monitor_elsewhere_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fails for certain, but what others store to the monitor's word is no event any more."""
    assert difference_of(0, ELSEWHERE, caches=False) == ""

    def fails(system, state, cpu: int) -> bool:
        local = state.locals[cpu]
        return isinstance(local.action.operation, StoreExclusive) and not variants.passes(system, state, cpu)

    monkeypatch.setattr(variants, "is_doomed", fails)
    monkeypatch.setattr(alone, "is_doomed", fails)
    assert "not explored" in difference_of(0, ELSEWHERE, caches=False)


def test_the_lock_of_the_benchmark_is_taken_by_all() -> None:
    path = Path(__file__).parents[2] / "bench" / "lock.S"
    explorer, _ = explore_case(Case.parse(f"{path} topology=flat:3"))
    result = explorer.search(Bounds(), everything=True)
    assert result.complete
    assert {found.finding.rule for found in result.findings} == {"misuse"}  # with the MMU off
    assert result.count.schedules < 300


def test_stores_of_one_value_are_swapped_and_one_of_another_is_not() -> None:
    count, ends = explore(explorer_of([task(Store(X, value)) for value in (7, 7, 8)]), X, remember=False)
    assert {words for words, _ in ends.seen} == {(7,), (8,)}
    assert count.complete <= 4  # of 3! orders
