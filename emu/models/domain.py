"""The model ``caches`` on a running machine: which bytes an access finds in the memory that the engine maps.

Between accesses memory shows what CPUs with caches on see. For an access that is not cacheable the line's
bytes in memory are put in their place, and changed back before the next one.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.memory import Memory
from emu.models import caches
from emu.models.caches import Choice, Line
from emu.operation import Kind

# kind, PA, value, size in bytes: STALE, LOST, LINE
Note = Callable[[Kind, int, int, int], None]


class Domain:
    """The cache lines of one machine; ``granule`` is the writeback granule in bytes, ``note`` gets events."""

    def __init__(self, memory: Memory, granule: int, note: Note) -> None:
        self.memory = memory
        self.granule = granule
        self.lines: dict[int, Line] = {}  # by PA
        self._note = note
        self._open: list[tuple[int, int, bool]] = []  # PA, bytes and cacheable of a store under way, by line
        self._shown: list[int] = []  # PAs of the lines that show memory's bytes

    def access(self, pa: int, size: int, cacheable: bool, is_store: bool) -> None:
        """An access is about to be made; it ends with the next call of any method."""
        self.settle()
        while size:
            part = min(size, self.granule - pa % self.granule)
            self._access(pa, part, cacheable, is_store)
            pa, size = pa + part, size - part

    def _access(self, pa: int, size: int, cacheable: bool, is_store: bool) -> None:
        # The part of an access that lies in one line.
        first = pa & -self.granule
        line = self.lines.get(first)
        if line is None:
            if not cacheable:
                return
            line = Line(self.memory.read_bytes(first, self.granule))
        if not is_store:
            newer = caches.stale(line, pa - first, size, cacheable)
            if newer is not None:
                self._note(Kind.STALE, pa, int.from_bytes(newer, "little"), size)
        line = self.lines[first] = caches.loaded(line, cacheable)
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
            self.lines[first] = caches.stored(self.lines[first], pa - first, data, cacheable)
            if not cacheable:
                self._shown.append(first)
        self._open.clear()
        for first in self._shown:
            self._show(first)
        self._shown.clear()

    def maintain(self, word: int, pa: int) -> None:
        """Carry out a DC instruction on the line of ``pa``."""
        if caches.is_by_va(word):
            self._change(pa & -self.granule, lambda line: caches.maintain(line, word))

    def choose(self, pa: int, choice: Choice) -> None:
        """Let the domain do something by itself to the line at ``pa``.

        :raises ValueError: the line's state does not allow it
        """
        self._change(pa, lambda line: caches.choose(line, choice))
        self._note(Kind.LINE, pa, list(Choice).index(choice), 0)

    def _change(self, first: int, change: Callable[[Line], tuple[Line, int]]) -> None:
        self.settle()
        line = self.lines.get(first) or Line(self.memory.read_bytes(first, self.granule))
        new, lost = change(line)
        self.lines[first] = new
        note_lost(self._note, first, line, new, lost)
        self._show(first)

    def _show(self, first: int) -> None:
        self.memory.write_bytes(first, self.lines[first].view(True))


def note_lost(note: Note, first: int, line: Line, new: Line, lost: int) -> None:
    """Note the bytes that are gone with a change of a line, as u64 words; the value is what is gone."""
    gone = line.cached if line.dirty and new.memory == line.memory else line.memory
    assert gone is not None
    for at in range(0, len(gone), 8):
        if lost >> at & 0xFF:
            note(Kind.LOST, first + at, int.from_bytes(gone[at : at + 8], "little"), 8)
