"""Explorations against a naive enumeration that shares no code with them (tests/naive.py), by seed."""

from __future__ import annotations

import pytest
from naive_compare import difference

from emu.explore.reduction import EnabledSet
from emu.explore.unit_moves import UnitMoves

kinds = pytest.mark.parametrize("caches", [False, True], ids=["coherent", "caches"])


@kinds
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_an_exploration_comes_to_all_that_a_naive_enumeration_does(first: int, caches: bool) -> None:
    assert "".join(difference(seed, caches=caches) for seed in range(first, first + 25)) == ""


@kinds
def test_a_reduction_that_swaps_too_much_is_caught(caches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnabledSet, "commute", lambda *_: True)
    assert any("not explored" in difference(seed, caches=caches) for seed in range(50))


def test_lines_that_stay_as_they_are_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = UnitMoves.reached
    monkeypatch.setattr(UnitMoves, "reached", lambda *arguments: reached(*arguments)[:1])
    assert any("not explored" in difference(seed, caches=True) for seed in range(50))
