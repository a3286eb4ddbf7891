"""What the machine is lent of a global state's memory when it runs a step of one actor.

A search lends it all words that differ from the start, for each step that it runs there. A path with hundreds
of CPUs has thousands of those words, and runs a step for nearly each of its own: there the machine's memory
follows the states, and gets only what has changed.
"""

from __future__ import annotations

from typing import Protocol

from emu.cpu.engine import LINE_SHIFT
from emu.explore.cells import CELL, Cells, LoggedCells
from emu.machine import Machine


class Lender(Protocol):
    """Lends words of the cells."""

    def lend(self) -> dict[int, int]:
        """Return the words that memory is to have during the next step: u64 by PA."""
        ...

    def settle(self) -> None:
        """Let memory have its content of the start."""
        ...


class AllWords(Lender):
    """Lends what differs from the start; memory has its content of then between steps."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def lend(self) -> dict[int, int]:
        """Return the words that memory is to have during the next step: u64 by PA."""
        return {number * CELL: value for number, value in self._cells.stored.items()}

    def settle(self) -> None:
        """Do nothing."""


class Mirror(Lender):
    """Keeps the memory of ``machine`` like ``cells``, up to :meth:`settle`."""

    def __init__(self, machine: Machine, cells: LoggedCells) -> None:
        self._memory, self._engine = machine.memory, machine.engine
        self._cells = cells
        self._away: dict[int, None] = {}  # cells that may differ from the start

    def lend(self) -> dict[int, int]:
        """Put what has changed; nothing is left to lend."""
        changed = self._cells.take_changed()
        self._away |= changed
        self._put({number * CELL: self._cells.value(number) for number in changed})
        return {}

    def settle(self) -> None:
        """Let memory have its content of the start."""
        self._put({number * CELL: self._cells.initial(number) for number in self._away})
        self._cells.has_changed(self._away)
        self._away = {}

    def _put(self, words: dict[int, int]) -> None:
        before = self._memory.exchange(words)
        changed = {pa >> LINE_SHIFT for pa, value in words.items() if value != before[pa]}
        if not self._engine.code.lines.isdisjoint(changed):
            self._engine.forget_code()


def make_cells(machine: Machine, mirrors: bool) -> tuple[Cells, Lender]:
    """Return the cells of the machine's memory, and what lends them to it."""
    if mirrors:
        logged = LoggedCells(machine.memory.read)
        return logged, Mirror(machine, logged)
    cells = Cells(machine.memory.read)
    return cells, AllWords(cells)
