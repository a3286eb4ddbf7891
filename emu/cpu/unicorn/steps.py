"""The recorder of instructions: a copy of the engine's state at each, packed many at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import length_hint

from emu.cpu.unicorn.state import Env, traced_columns
from emu.instructions import ROWS_MAX, pack


class StepCopies:
    """Copies a part of the live state at each instruction (:class:`emu.instructions.InstructionRecorder`).

    A hook does what :meth:`take` does by itself, with ``place`` and ``source``, to save a call.
    """

    def __init__(self, live: Env) -> None:
        self.running = 0
        self.flush: Callable[[], None] = lambda: None
        self.source = source = live.traced()
        self._copies = array("Q", bytes(ROWS_MAX * len(source)))
        bytes_of = memoryview(self._copies).cast("B")
        places = [bytes_of[at : at + len(source)] for at in range(0, len(bytes_of), len(source))]
        # Nothing fits into the last: the rows are as many as can be.
        self._free = iter([*places, bytes_of[:0]])
        self.place = self._free.__next__
        self._told = 0  # rows that a group has
        self._groups: list[tuple[int, int]] = []

    def take(self) -> None:
        """Keep the state of the PE, which is about to do an instruction."""
        try:
            self.place()[:] = self.source
        except ValueError:
            self.make_room()

    def make_room(self) -> None:
        """Keep the state, for which there has been no place."""
        self._set_rows(ROWS_MAX)
        self.flush()
        self.place()[:] = self.source

    def drop(self) -> None:
        """Forget the last row: the instruction has not been begun."""
        self._set_rows(self._rows() - 1)

    def mark(self) -> int:
        """Return how many rows there are, for :meth:`forget`; at least half of the room is left."""
        if self._rows() > ROWS_MAX // 2:
            self.flush()
        return self._rows()

    @property
    def room(self) -> int:
        """How many rows can be taken before the next flush."""
        return ROWS_MAX - self._rows()

    def forget(self, mark: int) -> None:
        """Forget the rows since then; there has been no flush."""
        self._set_rows(mark)

    def _rows(self) -> int:
        return ROWS_MAX + 1 - length_hint(self._free)

    def _set_rows(self, rows: int) -> None:
        self._free.__setstate__(rows)  # type: ignore[attr-defined]

    def account(self) -> int:
        """Return how many rows there are since the last call; they are the running CPU's."""
        count = self._rows() - self._told
        if count > 0:
            self._told += count
            groups = self._groups
            if groups and groups[-1][0] == self.running:
                groups[-1] = (self.running, groups[-1][1] + count)
            else:
                groups.append((self.running, count))
        return count

    def pack(self) -> tuple[bytes, set[int]]:
        """Return the body of a chunk with all rows, which are accounted for, and the PCs; empty without."""
        rows, groups = self._told, self._groups
        assert rows == self._rows(), "account for them first"
        if not rows:
            return b"", set()
        self._set_rows(0)
        self._told, self._groups = 0, []
        words, flags, daif = traced_columns(self._copies, rows)
        return pack(words, flags, daif, groups), set(words[32])


@contextmanager
def unrecorded(steps: StepCopies | None, instructions: int) -> Iterator[int]:
    """Forget the rows of what is run inside; give how many of so many instructions there is room for."""
    if steps is None:
        yield instructions
        return
    mark = steps.mark()
    try:
        yield min(instructions, steps.room)
    finally:
        steps.forget(mark)
