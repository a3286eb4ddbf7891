"""Explorations against a naive enumeration that shares no code with them (tests/naive.py), by seed."""

from __future__ import annotations

import pytest
from naive import Thread
from naive_compare import difference, difference_of, difference_of_waits, missed_findings

from emu.arch import a64
from emu.explore.event_waits import EventWaits
from emu.explore.reduction import EnabledSet
from emu.explore.unit_moves import UnitMoves
from emu.explore.unit_words import UnitWords

kinds = pytest.mark.parametrize("caches", [False, True], ids=["coherent", "caches"])


@kinds
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_an_exploration_comes_to_all_that_a_naive_enumeration_does(first: int, caches: bool) -> None:
    assert "".join(difference(seed, caches=caches) for seed in range(first, first + 25)) == ""


@kinds
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_host_tasks_among_them_come_to_what_they_do_in_a_naive_enumeration(first: int, caches: bool) -> None:
    found = [difference(seed, caches=caches, tasks=True) for seed in range(first, first + 25)]
    assert "".join(found) == ""


@kinds
@pytest.mark.parametrize("first", range(0, 100, 50))
def test_those_who_wait_for_events_come_to_what_they_do_in_a_naive_enumeration(
    first: int, caches: bool
) -> None:
    assert "".join(difference_of_waits(seed, caches=caches) for seed in range(first, first + 50)) == ""


def test_a_loop_that_is_a_wait_although_nobody_sends_an_event_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EventWaits, "_sends_event", lambda *_: True)
    assert any("not explored" in difference_of_waits(seed, caches=False) for seed in range(60))


def test_an_event_register_that_is_forgotten_although_it_matters_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loops_of = EventWaits._loops_of
    monkeypatch.setattr(EventWaits, "_loops_of", lambda *arguments: loops_of(*arguments) or {})
    assert any("not explored" in difference_of_waits(seed, caches=False) for seed in (182, 320))


def asleep_past_caches(*others: Thread) -> str:
    """Compare for one PE with its MMU off that waits in WFE for what others store."""
    return difference_of(0, [Thread((("doze", 0, 0),)), *others], caches=True)


TOLD = (("st", 0, 1), ("dc", "cvac", 0), ("dsb",), ("sev",))
FORGETFUL = [
    [Thread((TOLD[0], *rest), mapped=True), Thread((("ld", 0, 0),))]
    for rest in (TOLD[1:], TOLD[2:], (TOLD[1], TOLD[3]))
]
# A store past the caches, and one of another word with which the line is written back over it.
OVER = [Thread((*TOLD, ("st", 1, 2)), mapped=True), Thread((("st", 0, 0), ("ld", 0, 0)))]


@pytest.mark.parametrize("others", [*FORGETFUL, OVER], ids=["told", "no-clean", "no-dsb", "over"])
def test_one_who_waits_past_the_caches_misses_what_nobody_cleans(others: list[Thread]) -> None:
    assert asleep_past_caches(*others) == ""


def test_an_event_that_comes_before_the_store_is_in_memory_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventWaits, "_shown_after", lambda *_: 2)
    assert all("not explored" in asleep_past_caches(*others) for others in FORGETFUL[1:])


def test_a_word_that_changes_without_a_store_to_it_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventWaits, "_shows", lambda *_: True)
    assert "not explored" in asleep_past_caches(*OVER)


def stores_and_looks(value: int) -> Thread:
    return Thread((("st", 0, value), ("ld", 0, 0)), mapped=True)


NEIGHBOUR = Thread((("ld", 0, 1), ("ld", 0, 0)))  # past the caches, of a word that nobody stores to too
ALIKE, UNLIKE = [[stores_and_looks(1), stores_and_looks(value), NEIGHBOUR] for value in (1, 2)]


@pytest.mark.parametrize("threads", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_stores_in_one_line_come_to_what_they_do_in_a_naive_enumeration(threads: list[Thread]) -> None:
    assert difference_of(0, threads, caches=True) == ""


def test_stores_of_two_values_that_are_swapped_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnitWords, "is_alike", lambda _, access: access.is_store)
    assert "not explored" in difference_of(0, [*UNLIKE[:2], Thread((("ld", 0, 1),))], caches=True)


def test_a_look_past_the_caches_at_a_word_that_is_stored_to_is_no_idle_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(UnitWords, "is_idle", lambda _, access: not access.is_store and not access.cacheable)
    assert "not explored" in difference_of(0, ALIKE, caches=True)


@kinds
def test_what_rules_find_in_programs_that_wait_for_events_is_explored(caches: bool) -> None:
    assert "".join(missed_findings(seed, caches=caches, schedules=6, waits=True) for seed in range(12)) == ""


@kinds
def test_what_rules_find_in_drawn_schedules_on_the_machine_is_explored(caches: bool) -> None:
    assert "".join(missed_findings(seed, caches=caches, schedules=6) for seed in range(16)) == ""


@pytest.mark.parametrize("seed", [499, 583])
def test_an_update_that_stores_nothing_and_a_wait_are_loads(seed: int) -> None:
    """A compare-and-exchange that finds another value; a word that is waited for and then stored to."""
    assert missed_findings(seed, caches=False, schedules=10) == ""


def test_a_store_before_clrex_is_an_event_and_one_behind_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [Thread((("st", 0, 1),)), Thread((("lx", 0, 0), ("clrex",), ("wfe",)))]
    assert difference_of(0, threads, caches=False) == ""
    monkeypatch.setattr(a64, "OBSERVABLE", a64.OBSERVABLE - {a64.Other.CLREX})
    assert "not explored" in difference_of(0, threads, caches=False)


def test_who_sleeps_is_enough_only_when_all_that_others_may_do_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a round learns nothing of what it leaves out, and takes that for complete."""
    assert difference(70410, caches=False) == ""
    monkeypatch.setattr(EnabledSet, "unexplored", lambda *_: [])
    assert "not explored" in difference(70410, caches=False)


def test_an_order_that_a_rule_needs_and_nobody_tries_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnabledSet, "commute", lambda *_: True)
    assert any("lost-update" in missed_findings(seed, caches=False, schedules=10) for seed in range(10))


@kinds
def test_a_reduction_that_swaps_too_much_is_caught(caches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnabledSet, "commute", lambda *_: True)
    assert any("not explored" in difference(seed, caches=caches) for seed in range(50))


def test_lines_that_stay_as_they_are_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = UnitMoves.reached
    monkeypatch.setattr(UnitMoves, "reached", lambda *arguments: reached(*arguments)[:1])
    assert any("not explored" in difference(seed, caches=True) for seed in range(50))


def test_a_load_behind_late_maintenance_of_its_own_gets_what_it_is_said_to_observe() -> None:
    """It was led to where the value before that maintenance leads, if no order had shown the new one yet."""
    writer = Thread((("lxp", 0, 0), ("stp", 0, 3)))
    reader = Thread((("ld", 0, 0), ("dc", "civac", 0), ("ld", 0, 1)), mapped=True)
    assert difference_of(0, [writer, reader], caches=True) == ""
