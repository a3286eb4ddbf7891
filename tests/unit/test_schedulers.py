"""The rule of each scheduler; what all keep to is in tests/conformance."""

from __future__ import annotations

import re
from bisect import insort
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling import made, picks

from emu.errors import InvalidCase
from emu.schedulers import Pick, make_scheduler
from emu.schedulers.pct import bound, odds
from emu.schedulers.replay import parse_picks, picks_text


@pytest.mark.parametrize("text", ["", "nobody", ":1", "random:", "random:x", "random:1.5"])
def test_a_wrong_name_or_seed_is_refused(text: str) -> None:
    """One line that names the value; an empty seed is 0."""
    if text == "random:":
        make_scheduler(text)
        return
    with pytest.raises(InvalidCase, match="scheduler="):
        make_scheduler(text)


def test_round_robin_goes_in_index_order() -> None:
    """Each once, then the lowest again; who joins in between is not passed over."""
    assert picks("round-robin", 0, [[2, 5, 9]] * 7) == [2, 5, 9, 2, 5, 9, 2]
    assert picks("round-robin", 0, [[2, 9], [2, 5, 9], [5, 9], [5]]) == [2, 5, 9, 5]


def test_random_differs_between_seeds() -> None:
    """Twenty seeds give twenty schedules."""
    sets = [[0, 1, 2, 3]] * 40
    assert len({tuple(picks("random", seed, sets)) for seed in range(20)}) == 20


def test_random_is_the_same_on_every_host() -> None:
    """The first picks of seed 1: a change breaks every recorded case."""
    assert picks("random", 1, [[0, 1, 2, 3]] * 10) == [0, 3, 3, 1, 1, 1, 2, 3, 0, 0]


@given(st.lists(st.integers(0, 100), min_size=2, max_size=8))
def test_timed_picks_the_earliest_and_the_lowest_among_equals(times: list[int]) -> None:
    """Simulated time goes on in order."""
    clocks = dict(enumerate(times))
    runnable: list[int] = []
    for cpu in clocks:
        insort(runnable, cpu)
    chosen = made("timed", 0, clocks).pick(runnable, 0)
    assert (times[chosen], chosen) == min((time, cpu) for cpu, time in clocks.items())


def test_pct_starves_nobody_for_ever() -> None:
    """An actor that runs on and on is taken to wait for another."""
    assert set(picks("pct", 3, [[0, 1]] * 30_000)) == {0, 1}


def test_pct_keeps_to_its_priorities_between_its_changes() -> None:
    """At most depth - 1 changes of the actor while all can go on."""
    for seed in range(50):
        chosen = picks("pct", seed, [[0, 1, 2]] * 900)
        assert sum(one != other for one, other in pairwise(chosen)) <= 2


@pytest.mark.parametrize("text", ["pct:1:0", "pct:1:2:0", "pct:x", "pct:1:2:3:4", "pct:1:y"])
def test_pct_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidCase, match="scheduler=pct"):
        make_scheduler(text)


def test_pct_promises_nothing_of_runs_that_are_longer_than_its_steps() -> None:
    """A change behind the last place that was drawn never comes."""
    said = odds("5:3:50", 4, 20, 111)
    assert "no probability holds: the longest schedule took 111 steps" in said
    assert f"pct:5:3:111 a bug of depth 3 shows in one with {1 / (4 * 111**2):.2g}" in said
    assert "no probability" not in odds("5:3:111", 4, 20, 111)
    assert "no probability" not in odds("5:1:50", 4, 20, 111)  # of depth 1 no place is drawn


def test_pct_tells_its_bound() -> None:
    """Burckhardt et al. 2010: 1 / (n * k ** (d - 1))."""
    assert bound(4, 3, 100) == 1 / (4 * 100**2)


PICKS = st.lists(
    st.one_of(
        st.builds(Pick, st.just("run"), st.integers(0, 4095)),
        st.builds(Pick, st.sampled_from(["timeout", "wake", "start"]), st.integers(0, 4095)),
        st.builds(Pick, st.sampled_from(["w", "d", "f"]), st.integers(0, 2**48).map(lambda pa: pa & -64)),
    )
)


@given(PICKS)
def test_schedule_has_a_text_form(picks: list[Pick]) -> None:
    assert parse_picks(picks_text(picks)) == picks


@pytest.mark.parametrize("text", ["x", "0x0", "1x", "t", "w", "wxyz", "1x99999999999", "-1", "0 1"])
def test_text_that_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_picks(text)
