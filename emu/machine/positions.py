"""Positions: how many steps come before a moment of a run.

A step is what :meth:`Machine.step` does at instruction grain: one instruction, one operation of a host task,
or what a recorded schedule lets happen by itself. A debug session counts them, and its ``goto`` takes one. A
recorded schedule goes by operations, so one of its picks is several steps; :func:`numbered` says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from emu.machine.actor import Grain
from emu.machine.machine import Machine
from emu.operation import Kind, Record


class Positions:
    """The positions of what the picks of a recorded schedule do.

    :ivar end: the position behind the last pick
    """

    def __init__(self, picks: list[list[tuple[int, int, Kind]]], begins: list[int], end: int) -> None:
        """Keep them.

        :param picks: of each pick its records: (position, CPU, kind)
        :param begins: the position at which each pick begins
        """
        self._picks = picks
        self._begins = begins
        self.end = end

    def of_pick(self, pick: int) -> int:
        """Return the position at which a pick begins."""
        return self._begins[pick]

    def of_records(self, pick: int, records: list[Record]) -> Iterator[int]:
        """Yield the position of each record of a pick in another run that took it: where its step begins."""
        for at, record in enumerate(records):
            before = sum((each.actor, each.kind) == (record.actor, record.kind) for each in records[:at])
            same = (
                position
                for position, cpu, kind in self._picks[pick]
                if (cpu, kind) == (record.actor, record.kind)
            )
            yield next(islice(same, before, None), self._begins[pick])


def numbered(machine: Machine, count: int) -> Positions:
    """Take the first ``count`` picks of a machine's recorded schedule, and return where they are.

    The machine goes on behind them at the grain it had.

    :raises ReplayDiverged: a pick cannot be taken
    """
    grain, machine.grain = machine.grain, Grain.INSTRUCTION
    machine.observe()
    trace = machine.trace
    picks: list[list[tuple[int, int, Kind]]] = []
    begins: list[int] = []
    position = 0
    while True:
        if machine.unfinished < 0:
            if len(picks) == count:
                break
            picks.append([])
            begins.append(position)
        rows = len(trace)
        if not machine.step():
            break
        for index in range(rows, len(trace)):
            kind, _size, cpu, *_rest = trace.row(index)
            picks[-1].append((position, cpu, Kind(kind)))
        position += 1
    machine.grain = grain
    return Positions(picks, begins, position)
