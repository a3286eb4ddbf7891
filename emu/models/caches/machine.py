"""The model ``caches`` on a running machine: which bytes an access finds in the memory that the engine maps.

Between accesses memory shows what CPUs with caches on see. For an access that is not cacheable the line's
bytes in memory are put in their place, and changed back before the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import cast

from emu.memory import LINE_SIZE, Memory
from emu.models.caches import lines
from emu.models.caches.lines import Choice, Line
from emu.models.protocol import Note, NoteSink
from emu.operation import Kind


class Domain:
    """The cache lines of one machine; ``granule`` is the writeback granule in bytes, ``note`` gets events."""

    def __init__(self, memory: Memory, granule: int, note: NoteSink) -> None:
        self.memory = memory
        self.granule = granule
        self.lines: dict[int, Line] = {}  # by PA
        self._note = note
        self._open: list[tuple[int, int, bool]] = []  # PA, bytes and cacheable of a store under way, by line
        self._shown: list[int] = []  # PAs of the lines that show memory's bytes

    def access(self, cpu: int, pa: int, size: int, cacheable: bool, is_store: bool) -> None:
        """An access of ``cpu`` is about to be made; it ends with the next call of any method."""
        self.settle()
        while size:
            part = min(size, self.granule - pa % self.granule)
            line = self._held(pa & -self.granule)
            if line is not None and line.delayed and cacheable:
                self._change(pa & -self.granule, lambda line: lines.complete(line, cpu))
            self._access(pa, part, cacheable, is_store)
            pa, size = pa + part, size - part

    def _access(self, pa: int, size: int, cacheable: bool, is_store: bool) -> None:
        # The part of an access that lies in one line.
        first = pa & -self.granule
        line = self._held(first)
        if line is None:
            if not cacheable:
                return
            line = Line(self.memory.read_bytes(first, self.granule))
        if not is_store:
            newer = lines.stale(line, pa - first, size, cacheable)
            if newer is not None:
                self._note(Kind.STALE, pa, int.from_bytes(newer, "little"), size)
        line = self.lines[first] = lines.loaded(line, cacheable)
        if not cacheable and line.cached != line.memory:
            self.memory.write_bytes(first, line.memory)
            self._shown.append(first)
        if is_store:
            self._open.append((pa, size, cacheable))

    def settle(self) -> None:
        """The access is over: take note of what it stored, and show the domain's bytes again."""
        for pa, size, cacheable in self._open:
            first = pa & -self.granule
            data = self.memory.read_bytes(pa, size)
            self.lines[first] = lines.stored(self.lines[first], pa - first, data, cacheable)
            if not cacheable:
                self._shown.append(first)
        self._open.clear()
        for first in self._shown:
            self._show(first)
        self._shown.clear()

    def state(self) -> Hashable:
        """Return the lines by PA."""
        self.settle()
        return tuple(sorted(self.lines.items()))

    def set_state(self, state: Hashable) -> None:
        """Let these be the lines."""
        self.settle()
        self.lines = dict(cast("tuple[tuple[int, Line], ...]", state))
        for first in self.lines:
            self._show(first)

    def unit(self, pa: int) -> bytes:
        """Return the line's bytes in memory."""
        line = self._held(pa & -self.granule)
        return b"" if line is None else line.memory

    def seen(self, cpu: int, pa: int, size: int, cacheable: bool) -> bytes:
        """Return what a load finds: a cacheable one behind the maintenance that ``cpu`` has issued before."""
        self.settle()
        found = bytearray(self.memory.read_bytes(pa, size))
        for first in self._known(range(pa & -self.granule, pa + size, self.granule)):
            line = self._held(first)
            if line is not None:
                line = lines.complete(line, cpu)[0] if cacheable else line
                begin, end = max(first, pa), min(first + self.granule, pa + size)
                found[begin - pa : end - pa] = line.view(cacheable)[begin - first : end - first]
        return bytes(found)

    def _known(self, firsts: range) -> list[int]:
        # Those of these lines that have been touched, or are older in memory from the beginning.
        touched, behind = self.lines, self.memory.behind
        if self.granule == LINE_SIZE or not behind:
            return [first for first in firsts if first in touched or first in behind]
        parts = range(0, self.granule, LINE_SIZE)
        return [first for first in firsts if first in touched or any(first + at in behind for at in parts)]

    def held(self) -> list[tuple[range, str]]:
        """Return the lines that are present, or on whose maintenance nothing has happened yet."""
        self.settle()
        found = []
        for first in sorted({*self.lines, *(pa & -self.granule for pa in self.memory.behind)}):
            line = self._held(first)
            if line is not None and (line.cached is not None or line.delayed):
                found.append((range(first, first + self.granule), lines.words(line)))
        return found

    def describe(self, pa: int) -> str:
        """Return ``absent``, ``clean`` or ``dirty``, whether memory is newer, and what is on its way."""
        self.settle()
        line = self._held(pa & -self.granule)
        return "absent" if line is None else lines.words(line)

    def put(self, pa: int, data: bytes) -> None:
        """Let memory and the domain have these bytes alike."""
        self.settle()
        while data:
            first, at = pa & -self.granule, pa % self.granule
            part = data[: self.granule - at]
            line = self._held(first)
            self.memory.write_bytes(pa, part)
            if line is not None:
                self.lines[first] = lines.put(line, at, part)
                self._show(first)
            pa, data = pa + len(part), data[len(part) :]

    def empty(self) -> None:
        """Let all lines be written back, and hold none."""
        self.settle()
        self.lines.clear()
        self.memory.behind = {}

    def at_end(self) -> tuple[Note, ...]:
        """Return what dirty lines take away when they are written back."""
        self.settle()
        return lines.at_end(sorted(self.lines.items()))

    def maintain(self, cpu: int, word: int, pa: int, *, delayed: bool) -> None:
        """Carry out a DC instruction of ``cpu`` on the line of ``pa``, or issue it."""
        if not lines.is_by_va(word):
            return
        first = pa & -self.granule
        self._change(first, lambda line: (lines.delay(line, cpu, word), 0))
        if not delayed:
            self._change(first, lambda line: lines.complete(line, cpu))

    def barrier(self, cpu: int, word: int) -> None:
        """End the maintenance that ``cpu`` has delayed, if the barrier does."""
        if lines.completes(word):
            self._each(lambda line: lines.complete(line, cpu))

    def elapse(self) -> None:
        """Let all maintenance take effect."""
        self._each(lines.elapse)

    def _held(self, first: int) -> Line | None:
        # The line, if it was touched before or is dirty from the beginning.
        line = self.lines.get(first)
        if line is None and self.memory.behind:
            begun = lines.at_beginning(first, self.memory.read_bytes(first, self.granule), self.memory.behind)
            return begun if begun.dirty else None
        return line

    def _each(self, change: Callable[[Line], tuple[Line, int]]) -> None:
        for first in sorted(first for first, line in self.lines.items() if line.delayed):
            self._change(first, change)

    def choose(self, pa: int, letter: str) -> None:
        """Let the domain do something by itself to the line at ``pa``; ``letter`` is the value of a Choice.

        :raises ValueError: the line's state does not allow it
        """
        choice = Choice(letter)
        self._change(pa, lambda line: lines.choose(line, choice))
        self._note(Kind.LINE, pa, lines.number_of(choice), 0)

    def _change(self, first: int, change: Callable[[Line], tuple[Line, int]]) -> None:
        self.settle()
        line = self._held(first) or Line(self.memory.read_bytes(first, self.granule))
        new, lost = change(line)
        self.lines[first] = new
        lines.note_lost(self._note, first, line, new, lost)
        self._show(first)

    def _show(self, first: int) -> None:
        self.memory.write_bytes(first, self.lines[first].view(True))
