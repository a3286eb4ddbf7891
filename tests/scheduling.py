"""Helpers of tests that ask schedulers."""

from __future__ import annotations

from collections.abc import Mapping

from emu.schedulers import SCHEDULERS, Scheduler


class Clocks(dict[int, int]):
    """Every actor's clock is 0 until it has gone."""

    def __missing__(self, _cpu: int) -> int:
        return 0


def made(name: str, seed: int, clocks: Mapping[int, int]) -> Scheduler:
    """Return a scheduler that looks at these clocks, if it looks at any."""
    scheduler = SCHEDULERS[name].scheduler(str(seed) if SCHEDULERS[name].seeded else "")
    attach = getattr(scheduler, "attach", None)
    if attach:
        attach(lambda cpus: [clocks[cpu] for cpu in cpus])
    return scheduler


def picks(name: str, seed: int, sets: list[list[int]]) -> list[int]:
    """Let the scheduler pick from each set in turn; the one that goes takes a nanosecond."""
    clocks = Clocks()
    scheduler = made(name, seed, clocks)
    current, found = -1, []
    for runnable in sets:
        current = scheduler.pick(runnable, current)
        clocks[current] += 1
        found.append(current)
    return found
