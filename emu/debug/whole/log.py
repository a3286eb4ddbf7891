"""The steps of a debug session at the whole depth: instructions by the million, and whose they were.

A position is the number of instructions that all CPUs have retired since power-on. What a step has done is
found by running it again (:class:`emu.debug.whole.session.WholeSession`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator

from emu.debug.step_log import StepLog
from emu.machine import Machine
from emu.operation import Record

LastWrite = Callable[[int, int, int], "tuple[int, Record] | None"]


class WholeLog(StepLog):
    """Whose turn it was at each position, and the events of the trace.

    :param last_write: finds the last store to bytes (PA, size) before a position
    """

    def __init__(self, machine: Machine, last_write: LastWrite) -> None:
        super().__init__(machine)
        self._clock = machine.clock
        self._last_write = last_write
        self.first = machine.clock.begun
        self._starts, self._turns = array("Q"), array("H")  # positions where a CPU begins, and the CPU
        self._events = array("Q")  # by row of the trace from `_row` on: the position behind it
        self._row = len(machine.trace)
        self._forced: dict[int, int] = {}
        self._step_row = self._row
        self.touched: list[Record] = []  # watched accesses of the last step

    @property
    def position(self) -> int:
        """The number of instructions retired."""
        return self._clock.begun

    def begin_step(self) -> None:
        """A step is about to be made."""
        self._step_row = len(self._machine.trace)
        self.touched = []

    def end_step(self, cpu: int, before: int) -> None:
        """A step of ``cpu`` is made that began at position ``before``."""
        if self.position > before and (not self._turns or self._turns[-1] != cpu):
            self._starts.append(before)
            self._turns.append(cpu)
        rows = len(self._machine.trace) - self._row - len(self._events)
        self._events.extend([self.position] * rows)

    def force(self, cpu: int) -> None:
        """At this position the user lets ``cpu`` go on, not the scheduler."""
        self._forced[self.position] = cpu

    def forced(self, first: int) -> dict[int, int]:
        """Return the CPU of each forced turn from position ``first`` on, by position."""
        return {at: cpu for at, cpu in self._forced.items() if at >= first}

    def last_rows(self) -> range:
        """Return the indices of the trace records that the last step added."""
        return range(self._step_row, len(self._machine.trace))

    def stepped(self, position: int) -> tuple[int, int]:
        """Return the CPU of step ``position``; its PC is not kept (0)."""
        at = bisect_right(self._starts, position) - 1
        return (self._turns[at] if at >= 0 else 0), 0

    def records_of(self, position: int) -> list[Record]:
        """Return the watched accesses of the last step, and of no other."""
        return self.touched if position == self.position - 1 else []

    def records_back(self) -> Iterator[tuple[int, Record]]:
        """Yield (position behind it, record) of each event, the last first."""
        for at in range(len(self._events) - 1, -1, -1):
            yield self._events[at], self.row(self._row + at)

    def last_write(self, pa: int, size: int, before: int | None = None) -> tuple[int, Record] | None:
        """Return (position, record) of the last store to any of these bytes (PA), or None."""
        return self._last_write(pa, size, self.position if before is None else before)

    def back(self, cpu: int, count: int) -> tuple[int, int]:
        """Return the position before the last ``count`` steps of ``cpu`` (-1: none), and how many lack."""
        end, found = self.position, -1
        for at in range(len(self._starts) - 1, -1, -1):
            start = self._starts[at]
            if self._turns[at] == cpu:
                found = max(start, end - count)
                count -= end - found
                if not count:
                    break
            end = start
        return found, count
