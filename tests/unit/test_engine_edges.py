"""Edges of the control flow: what a run came along, whatever ran before."""

from __future__ import annotations

import pytest
from bare_pe import CODE, Bare

from emu.cpu.stops import Reached

_LOOP = """
    mov x1, #0
again: add x1, x1, #1
    cmp x1, x0
    b.lo again
    wfi
    nop
"""
_AGAIN, _BEHIND = CODE + 4, CODE + 16


def edges(bare: Bare, count: int) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    pe = bare.pe()
    bare.engine.collect_edges(found)
    bare.engine.reset(pe, 1, CODE, count)
    bare.engine.run(pe, 100)
    return found


@pytest.fixture
def bare() -> Bare:
    machine = Bare()
    machine.load(_LOOP, CODE)
    return machine


def test_each_branch_taken_and_not_taken_is_an_edge(bare: Bare) -> None:
    assert edges(bare, 1) == {(0, CODE), (CODE, _BEHIND)}
    assert edges(bare, 2) == {(0, CODE), (CODE, _AGAIN), (_AGAIN, _BEHIND)}
    assert edges(bare, 3) == {(0, CODE), (CODE, _AGAIN), (_AGAIN, _AGAIN), (_AGAIN, _BEHIND)}


def test_what_ran_before_makes_no_difference(bare: Bare) -> None:
    for count in (3, 1, 2, 1):
        fresh = Bare()
        fresh.load(_LOOP, CODE)
        assert edges(bare, count) == edges(fresh, count)


def test_nothing_is_added_once_it_was_stopped(bare: Bare) -> None:
    found = edges(bare, 1)
    bare.engine.collect_edges(None)
    bare.engine.collect_edges(None)
    pe = bare.pe()
    bare.engine.reset(pe, 1, CODE, 3)
    bare.engine.run(pe, 100)
    assert found == {(0, CODE), (CODE, _BEHIND)}
    assert edges(bare, 2) == {(0, CODE), (CODE, _AGAIN), (_AGAIN, _BEHIND)}


def test_a_breakpoint_is_reached_by_its_edge(bare: Bare) -> None:
    bare.engine.break_at(_BEHIND)
    found: set[tuple[int, int]] = set()
    pe = bare.pe()
    bare.engine.collect_edges(found)
    bare.engine.reset(pe, 1, CODE, 1)
    assert isinstance(bare.engine.run(pe, 100), Reached)
    assert found == {(0, CODE), (CODE, _BEHIND)}
