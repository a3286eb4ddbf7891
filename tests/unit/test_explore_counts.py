"""Small programs whose schedules can be listed by hand: the counts are exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from bare_pe import CODE
from exploring import Ends, X, Y, Z, explore, explorer_of, task

from emu.explore.paths import count_paths
from emu.explore.search import Bounds, Search
from emu.machine.actor import HostTask, State
from emu.operation import (
    Again,
    AtomicUpdate,
    Delay,
    Load,
    LoadUntil,
    Park,
    Poll,
    SendEvent,
    SendInterrupt,
    Store,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.outcome import ended

# name, programs, schedules in all, orders that can be told apart, outcomes
HAND_LISTED = [
    # Each task ends with a step of its own: two of 3 steps give 6! / (3! 3!), three of 2 give 6! / (2!)**3.
    ("store buffering", [task(Store(X, 1), Load(Y)), task(Store(Y, 1), Load(X))], 20, 3, 3),
    ("message passing", [task(Store(X, 1), Store(Y, 1)), task(Load(Y), Load(X))], 20, 3, 3),
    ("nothing in common", [task(Store(X, 1), Store(X + 8, 1)), task(Store(Y, 1), Store(Y + 8, 1))], 20, 1, 1),
    ("three stores", [task(Store(X, 1)), task(Store(X, 2)), task(Store(X, 3))], 90, 6, 3),
    ("the same stores", [task(Store(X, 7)), task(Store(X, 7)), task(Store(X, 7))], 90, 1, 1),
    ("the same stores, and a load", [task(Store(X, 7)), task(Store(X, 7)), task(Load(X))], 90, 2, 2),
    ("three loads", [task(Load(X)), task(Load(X)), task(Load(X))], 90, 1, 1),
    ("bytes of one word", [task(Store(X, 1, 1)), task(Store(X + 1, 1, 1))], 6, 1, 1),
    ("a byte of a word", [task(Store(X, 1)), task(Store(X + 1, 1, 1))], 6, 2, 2),
    ("a wait", [task(Store(X, 1), Store(Y, 1)), task(LoadUntil(Y), Load(X))], 4, 1, 1),
    ("updates", [task(AtomicUpdate(X, 0, 1)), task(AtomicUpdate(X, 0, 2))], 6, 2, 2),
    # Asleep before the event, or past it already: the same in the end.
    ("an event", [task(Store(X, 1), SendEvent()), task(WaitForEvent(), Load(X))], 10, 1, 1),
    ("an interrupt", [task(SendInterrupt(1)), task(WaitForInterrupt())], 5, 1, 1),
    (
        "two PEs",
        [
            "mov x1, #1\n str x1, [x0]\n ldr x2, [x0, #256]\n b .",
            "mov x1, #1\n str x1, [x0, #256]\n ldr x2, [x0]\n b .",
        ],
        70,
        3,
        1,
    ),
]


@pytest.mark.parametrize(("name", "programs", "paths", "orders", "outcomes"), HAND_LISTED)
def test_counts_are_those_of_the_hand(
    name: str, programs: list[Callable[[], HostTask] | str], paths: int, orders: int, outcomes: int
) -> None:
    """Every schedule without reduction; with sleep sets and no known states, each order just once."""
    explorer = explorer_of(programs)
    every, ends = explore(explorer, X, Y, reduce=False, remember=False)
    assert (every.complete, len(set(ends.seen))) == (paths, outcomes), name
    assert count_paths(explorer.system()) == paths
    reduced, ends = explore(explorer, X, Y, remember=False)
    assert (reduced.complete, len(set(ends.seen))) == (orders, outcomes), name
    known, ends = explore(explorer, X, Y)
    assert known.complete <= orders
    assert len(set(ends.seen)) == outcomes


def test_exclusives_count_every_increment() -> None:
    increment = "l: ldxr x1, [x0]\n add x1, x1, #1\n stxr w2, x1, [x0]\n cbnz w2, l\n b ."
    _, ends = explore(explorer_of([increment] * 3), X)
    assert {words for words, _ in ends.seen} == {(3,)}


def test_spinning_is_waiting_for_a_store() -> None:
    """A loop that only looks ends no path, and gives no endless one."""
    spin = "l: ldr x1, [x0]\n cbz x1, l\n b ."
    count, ends = explore(explorer_of([spin, task(Store(X, 1))]), X)
    assert {words for words, _ in ends.seen} == {(1,)}
    assert count.complete == 1
    count, _ = explore(explorer_of([spin, task(Store(Y, 1))]), X)
    assert count.complete == 1  # for ever


def test_task_that_begins_again_is_where_it_was() -> None:
    def firmware() -> HostTask:
        while True:
            if (yield Load(X)):
                yield Park(ended("left"))
            yield WaitForEvent()
            yield Again()

    count, ends = explore(
        explorer_of([firmware, task(SendEvent(), SendEvent(), Store(X, 1), SendEvent())]), X
    )
    assert count.complete
    assert {points[0][2].name for _, points in ends.seen} == {"left"}


def test_poll_gives_up_when_nobody_else_can_move_or_early_when_asked() -> None:
    def poller() -> HostTask:
        seen = yield Poll(X, 8, None, 1000, ((0, 10),))
        yield Park(ended("in time" if seen else "gave up"))

    def outcomes(**bounds: int) -> set[str]:
        _, ends = explore(explorer_of([poller, task(Store(X, 1))]), X, **bounds)
        return {points[0][2].name for _, points in ends.seen}

    assert outcomes() == {"in time"}
    assert outcomes(early=1) == {"in time", "gave up"}
    _, ends = explore(explorer_of([poller, task(Store(Y, 1))]), X)
    assert {points[0][2].name for _, points in ends.seen} == {"gave up"}


def test_delay_lets_everybody_else_go_first() -> None:
    def patient() -> HostTask:
        yield Delay(500)
        yield Park(ended("late" if (yield Load(X)) else "early"))

    _, ends = explore(explorer_of([patient, task(Store(Y, 1), Store(X, 1))]), X)
    assert {points[0][2].name for _, points in ends.seen} == {"late"}


def test_spurious_wake_up_is_a_choice() -> None:
    def sleeper() -> HostTask:
        yield WaitForEvent()
        yield Park(ended("woke"))

    def states(**bounds: object) -> set[str]:
        _, ends = explore(explorer_of([sleeper, task(Store(X, 1))]), X, **bounds)
        return {points[0][0] for _, points in ends.seen}

    assert states() == {"waiting"}
    assert states(early=1, spurious=True) == {"waiting", "ended"}


def test_a_host_task_that_fell_asleep_can_have_an_event_instead() -> None:
    """The generator of a task that sleeps has not moved on; who has an event in the same place gets it."""
    stepper = explorer_of([task(WaitForEvent(), Store(X, 1))]).stepper
    (first,) = stepper.start
    asleep = stepper.edge(first, False, lambda _: {}).local
    goes_on = stepper.edge(first, True, lambda _: {}).local
    assert (asleep.state, goes_on.action.operation) == (State.WAITING, Store(X, 1))


def _pen(word: int) -> str:
    return f"again: ldr x1, [x0, #{word - X}]\n cbnz x1, out\n wfe\n b again\nout: str x1, [x0, #8]\n b ."


def test_those_who_wait_in_wfe_for_words_of_their_own_go_in_one_schedule() -> None:
    words = (Y, Y + 8, Y + 16)
    tell = task(*(operation for word in words for operation in (Store(word, 1), SendEvent())))
    count, ends = explore(explorer_of([tell, *map(_pen, words)]), X + 8)
    assert (count.schedules, {words for words, _ in ends.seen}) == (1, {(1,)})


def test_one_who_waits_in_wfe_is_not_skipped_when_the_event_comes_too_early_or_not_at_all() -> None:
    for tell in ((SendEvent(), Store(Y, 1)), (Store(Y, 1),), (Store(Y, 1), LoadUntil(Z), SendEvent())):
        _, ends = explore(explorer_of([task(*tell), _pen(Y)]), X + 8)
        assert {words for words, _ in ends.seen} == {(0,), (1,)}


def test_a_loop_over_two_words_may_see_one_as_it_was_and_the_other_as_it_is() -> None:
    """It leaves when it looks at the first before both are stored to, and at the second behind that."""
    loop = "mov x1, #0\n mov x2, #0\nagain: ldr x1, [x0]\n cbnz x1, again\n ldr x2, [x0, #256]\n"
    programs = [task(Store(X, 1), Store(Y, 1)), f"{loop} cbz x2, again\n str x2, [x0, #8]\n b ."]
    for reduce in (True, False):
        _, ends = explore(explorer_of(programs), X + 8, reduce=reduce)
        assert {words for words, _ in ends.seen} == {(0,), (1,)}


def test_event_register_at_reset_lets_the_first_wait_pass() -> None:
    programs = ["wfe\n str x0, [x0]\n b .", task(Load(Y))]
    for event_register, stored in ((0, 0), (1, X)):
        _, ends = explore(explorer_of(programs, event_register=event_register), X)
        assert {words for words, _ in ends.seen} == {(stored,)}


def test_bounds_are_named() -> None:
    explorer = explorer_of([task(Store(X, 1), Load(Y)), task(Store(Y, 1), Load(X))])
    assert explorer.search(Bounds()).incomplete == []
    assert explorer.search(Bounds(schedules=1)).incomplete == ["1 schedules"]
    assert explorer.search(Bounds(preemptions=0)).incomplete == ["0 preemptions"]
    assert explorer.search(Bounds(depth=2)).incomplete == ["2 steps"]
    assert explorer.search(Bounds(states=1)).complete  # costs time alone


def test_preemption_bound_counts_what_could_have_gone_on() -> None:
    """Without preemption: one whole task after the other, in either order; with one, one more change."""
    programs = [task(Store(X, 1), Store(X, 2)), task(Load(X))]
    for preemptions, seen in ((0, {0, 2}), (1, {0, 1, 2})):
        _, ends = explore(explorer_of(programs), X, preemptions=preemptions)
        assert {points[1][1][0] for _, points in ends.seen} == seen


def test_code_that_was_changed_before_a_flag_is_what_runs_behind_it() -> None:
    """MODEL: fetches are no operations; what a PE fetches follows from what it has observed."""
    text = """
     ldr x2, [x0, #256]
     b patched
    patched:
     mov x1, #1
     str x1, [x0]
     b ."""
    patch = Store(CODE + 8, 0xD280_0041, 4)  # mov x1, #2
    _, ends = explore(explorer_of([text, task(patch, Store(Y, 1))]), X, Y)
    assert {words for words, _ in ends.seen} == {(1, 1), (2, 1)}


@pytest.mark.parametrize(
    "bounds", [{}, {"remember": False}, {"preemptions": 2}, {"early": 1}, {"reduce": False}]
)
@pytest.mark.parametrize("schedules", [1, 2, 3, 5, 8])
def test_search_that_goes_on_where_it_was_ended_comes_to_every_end(
    schedules: int, bounds: dict[str, int]
) -> None:
    """What a file has is enough: the path, what was left to try on it, and what was spent."""

    def poller() -> HostTask:
        yield Park(ended("in time" if (yield Poll(Y, 8, None, 100, ((0, 10),))) else "gave up"))

    explorer = explorer_of([task(Store(X, 1), Load(X)), task(Store(X, 2), Store(Y, 1)), poller])
    _, every = explore(explorer, X, Y, **bounds)
    first, rest = Ends(X, Y), Ends(X, Y)
    asked = Bounds(**bounds)
    begun = Search(explorer.system(asked), replace(asked, schedules=schedules), first)
    begun.run()
    assert not explorer.system().cells.stored
    Search(explorer.system(asked), asked, rest, saved=begun.stack).run()
    assert set(first.seen) | set(rest.seen) == set(every.seen)


def test_as_many_preemptions_as_there_can_be_leave_nothing_out() -> None:
    programs = [task(Store(X, 1), Load(Y), Load(Y)), task(Store(Y, 1), Load(X)), task(Store(X, 2))]
    _, every = explore(explorer_of(programs), X, Y)
    _, bounded = explore(explorer_of(programs), X, Y, preemptions=20)
    assert set(bounded.seen) == set(every.seen)
