"""The thread that ends runs of the engine: one for many runs, none when there are none."""

from __future__ import annotations

import os
from threading import Event

import pytest

from emu.cpu.unicorn import watchdog
from emu.cpu.unicorn.watchdog import Watchdog

LONG = 1000.0


def _ends(dog: Watchdog, seconds: float) -> bool:
    stopped = Event()
    dog.begin(stopped.set, seconds)
    try:
        return stopped.wait(20) and dog.over.is_set()
    finally:
        dog.end()


def test_a_run_is_stopped_again_and_again_until_it_ends() -> None:
    dog, calls, third = Watchdog(), [], Event()

    def stop() -> None:
        calls.append(1)
        if len(calls) >= 3:
            third.set()

    dog.begin(stop, 0.001)
    assert third.wait(20)
    dog.end()
    told = len(calls)
    assert _ends(dog, 0.001)
    assert len(calls) == told  # of the other run


def test_one_thread_watches_one_run_after_the_other() -> None:
    dog = Watchdog()
    dog.begin(_unexpected, LONG)
    thread = dog._thread
    for _ in range(100):
        dog.end()
        dog.begin(_unexpected, LONG)
    assert dog._thread is thread
    assert not dog.over.is_set()
    dog.end()
    assert _ends(dog, 0.001)  # sooner than what the thread sleeps for
    assert dog._thread is thread


def test_a_run_is_given_its_own_time_and_not_that_of_the_one_before() -> None:
    dog = Watchdog()
    assert _ends(dog, 0.001)
    dog.begin(_unexpected, LONG)
    assert not dog.over.wait(0.05)
    dog.end()


def test_without_runs_the_thread_ends_and_keeps_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_IDLE_SECONDS", 0.001)
    dog = Watchdog()
    assert _ends(dog, 0.001)
    thread = dog._thread
    assert dog._stop == dog.over.set
    if thread is not None:
        thread.join(20)
        assert not thread.is_alive()
    assert dog._thread is None
    assert _ends(dog, 0.001)


def test_a_fork_has_a_thread_of_its_own() -> None:
    dog = Watchdog()
    dog.begin(_unexpected, LONG)
    dog.end()
    child = os.fork()
    if child == 0:
        os._exit(0 if _ends(dog, 0.001) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _unexpected() -> None:
    raise AssertionError("stopped")
