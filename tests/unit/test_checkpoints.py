"""Checkpoints as processes: what is exact, what is kept, how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Any

import pytest
from travelling import watch

from emu.debug.checkpoints import KEPT_MAX, RECENT, Checkpoints, Travelled, with_checkpoints
from emu.errors import EmuError


def counter() -> Generator[int, None, None]:
    """State that no copy but that of the whole process has: a generator in its middle."""
    number = 0
    while True:
        yield number
        number += 1


def test_a_generator_goes_back_with_its_process() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        numbers = counter()
        try:
            for position in range(10):
                checkpoints.save(position)
                tell(next(numbers))
            checkpoints.travel(4, "again")
        except Travelled as back:
            tell([back.position, back.target, back.payload, next(numbers)])

    assert watch(debugger) == [*range(10), [4, 4, "again", 4]]


def test_the_nearest_checkpoint_before_the_target_takes_over() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        try:
            for position in (0, 10, 20, 30):
                checkpoints.save(position)
            checkpoints.travel(25, None)
        except Travelled as back:
            tell([back.position, back.target, checkpoints.positions])

    assert watch(debugger) == [[20, 25, [0, 10, 20]]]


def test_time_can_be_travelled_again_and_again() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        position, left = 0, 5
        while True:
            try:
                while position < 20:
                    checkpoints.save(position)
                    position += 1
                if not left:
                    tell(position)
                    return
                checkpoints.travel(7 + left, left - 1)
            except Travelled as back:
                position, left = back.target, back.payload
                tell([position, left])

    assert watch(debugger) == [[12, 4], [11, 3], [10, 2], [9, 1], [8, 0], 20]


def test_files_that_are_sent_along_arrive() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        try:
            checkpoints.save(0)
            read, write = os.pipe()
            os.write(write, b"sent")
            checkpoints.travel(0, None, [read])
        except Travelled as back:
            tell(os.read(back.fds[0], 10).decode())

    assert watch(debugger) == ["sent"]


def test_old_checkpoints_thin_out_and_recent_ones_stay() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        for position in range(0, 1000, 10):
            checkpoints.save(position)
        tell(checkpoints.positions)

    (positions,) = watch(debugger)
    assert len(positions) == KEPT_MAX
    assert positions[0] == 0
    assert positions[-RECENT:] == list(range(1000 - 10 * RECENT, 1000, 10))


def test_a_checkpoint_that_takes_over_knows_which_others_are_gone() -> None:
    """Those that were thinned out after it was made; it must neither go there nor write to them."""

    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        try:
            for position in range(3 * KEPT_MAX):
                checkpoints.save(position)
            kept = [position for position in checkpoints.positions if position <= 3 * KEPT_MAX - RECENT]
            checkpoints.travel(3 * KEPT_MAX - RECENT, kept)
        except Travelled as back:
            if back.payload != "second":
                tell(checkpoints.positions == back.payload)
                gone = max(set(range(back.position)) - set(back.payload))
                for position in range(back.position + 1, back.position + 2 * KEPT_MAX):
                    checkpoints.save(position)
                checkpoints.travel(gone, "second")
            tell(back.position in range(back.target))

    assert watch(debugger) == [True, True]


def test_a_checkpoint_answers_from_a_copy_of_itself() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        numbers = counter()
        checkpoints.answer = lambda question: (question, next(numbers))
        for position in range(4):
            checkpoints.save(position)
            next(numbers)
        asked = [checkpoints.ask(position, "?") for position in (2, 0, 2)]
        tell([*asked, next(numbers), checkpoints.positions])

    assert watch(debugger) == [[["?", 2], ["?", 0], ["?", 2], 4, [0, 1, 2, 3]]]


def test_a_checkpoint_that_fails_to_answer_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        checkpoints.answer = lambda question: 1 // question
        checkpoints.save(0)
        with pytest.raises(EmuError, match="the checkpoint at 0 has not answered"):
            checkpoints.ask(0, 0)
        tell(checkpoints.ask(0, 1))

    assert watch(debugger) == [1]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_debugger_that_fails_ends_with_a_status_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    def debugger(checkpoints: Checkpoints) -> int:
        checkpoints.save(0)
        raise ValueError("planted")

    assert with_checkpoints(debugger) == 70
    assert "ValueError: planted" in capfd.readouterr().err


def test_a_debugger_that_is_killed_is_noticed() -> None:
    def debugger(checkpoints: Checkpoints) -> int:
        checkpoints.save(0)
        os.kill(os.getpid(), 9)
        return 0

    assert with_checkpoints(debugger) == 70


def test_no_process_is_left_behind() -> None:
    pids: list[int] = []

    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        for position in range(5):
            checkpoints.save(position)
        with open("/proc/thread-self/children") as children:
            tell([int(pid) for pid in children.read().split()])

    (pids,) = watch(debugger)
    assert len(pids) == 5
    for _ in range(100):
        alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and not _is_zombie(pid)]
        if not alive:
            break
        os.sched_yield()
    else:
        os.system("sleep 1")
        alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and not _is_zombie(pid)]
    assert alive == []


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
