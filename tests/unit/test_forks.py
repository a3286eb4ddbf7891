"""Parts of an exploration in copies of the process."""

from __future__ import annotations

import os
import signal

import pytest

from emu.errors import InvalidCase
from emu.explore.forks import in_forks

jobs = pytest.mark.parametrize("jobs", [1, 2, 5])


@jobs
def test_each_begins_with_what_was_known_before_and_results_come_in_order(jobs: int) -> None:
    known = [0]

    def make(item: int) -> list[int]:
        known.append(item)
        return list(known)

    assert list(in_forks(make, [3, 1, 2], jobs)) == [[0, 3], [0, 1], [0, 2]]
    assert known == [0]


@jobs
def test_the_first_error_in_order_is_raised(jobs: int) -> None:
    def make(item: int) -> int:
        if item:
            raise InvalidCase(f"item {item}")
        return item

    made = in_forks(make, [0, 1, 2], jobs)
    assert next(made) == 0
    with pytest.raises(InvalidCase, match="item 1"):
        next(made)


@jobs
def test_who_is_told_to_stop_begins_no_more_and_gives_what_has_begun(jobs: int) -> None:
    got: list[int] = []
    for number in in_forks(int, range(20), jobs, lambda: bool(got)):
        got.append(number)
    assert got == list(range(jobs))
    assert list(in_forks(int, [1], jobs, lambda: True)) == []


def test_a_process_that_is_killed_is_no_result() -> None:
    with pytest.raises(AssertionError, match="was ended"):
        list(in_forks(lambda _: os.kill(os.getpid(), signal.SIGKILL), [1, 2], 1))
