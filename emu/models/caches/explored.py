"""The model ``caches`` in an exploration: the lines that matter, as a tuple of values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from emu.models.caches import lines
from emu.models.caches.lines import Choice, Line
from emu.models.protocol import Changed, Loaded, Note
from emu.operation import Access, CacheOp, Kind, Operation
from emu.semantics.transition import accesses

_Lines = tuple[Line, ...]


def mixed_lines(operations: Iterable[Operation], granule: int) -> list[int]:
    """Return the PAs of the lines whose state can matter, ascending.

    They are stored to, and accessed as cacheable by one operation and past the caches by another, or
    invalidated.
    """
    cacheable: set[int] = set()
    past: set[int] = set()
    stored: set[int] = set()
    for operation in operations:
        for access in accesses(operation):
            line = access.pa & -granule
            (cacheable if access.cacheable else past).add(line)
            if access.is_store:
                stored.add(line)
        if isinstance(operation, CacheOp) and lines.invalidates(operation.word):
            past.add(operation.pa & -granule)
    return sorted(cacheable & past & stored)


class ExploredCaches:
    """Lines of ``granule`` bytes at ``units``; the state is a tuple of them."""

    def __init__(self, units: Sequence[int], granule: int) -> None:
        self.units = tuple(units)
        self.granule = granule
        self._index = {pa: index for index, pa in enumerate(self.units)}

    def initial(
        self, read: Callable[[int, int], bytes], behind: Mapping[int, bytes] = MappingProxyType({})
    ) -> Hashable:
        """Return the lines: absent, but for those that are dirty from the beginning."""
        return tuple(lines.at_beginning(pa, read(pa, self.granule), behind) for pa in self.units)

    def loads(self, state: Hashable, cpu: int, access: Access) -> tuple[Loaded, ...]:
        """Return the one value that the line gives; a cacheable load allocates it."""
        done = self._in_order(state, cpu, access)
        held, index, at = self._line(done.state, access.pa)
        state, line, end = held, held[index], at + access.size
        value = _number(line.view(access.cacheable)[at:end])
        newer = lines.stale(line, at, access.size, access.cacheable)
        after = lines.loaded(line, access.cacheable)
        if after is not line:
            state = _put(held, index, after)
        if newer is None:
            return (Loaded(value, state, done.notes),)
        stale = Note(Kind.STALE, access.pa, _number(newer), access.size)
        return (Loaded(value, state, (*done.notes, stale)),)

    def store(self, state: Hashable, cpu: int, access: Access) -> Changed:
        """Store into the line, or past it."""
        done = self._in_order(state, cpu, access)
        held, index, at = self._line(done.state, access.pa)
        data = (access.value & (1 << 8 * access.size) - 1).to_bytes(access.size, "little")
        return Changed(_put(held, index, lines.stored(held[index], at, data, access.cacheable)), done.notes)

    def _in_order(self, state: Hashable, cpu: int, access: Access) -> Changed:
        # A CPU's maintenance of a line comes before its next access to it with the caches' attributes.
        held, index, _ = self._line(state, access.pa)
        if not held[index].delayed or not access.cacheable:
            return Changed(state)
        return self._changed(held, index, *lines.complete(held[index], cpu))

    def barrier(self, state: Hashable, cpu: int, word: int) -> Changed:
        """End the maintenance that ``cpu`` has delayed, if the barrier does."""
        return (
            self._each(state, lambda line: lines.complete(line, cpu))
            if lines.completes(word)
            else Changed(state)
        )

    def elapse(self, state: Hashable) -> Changed:
        """Let all maintenance take effect."""
        return self._each(state, lines.elapse)

    def _each(self, state: Hashable, change: Callable[[Line], tuple[Line, int]]) -> Changed:
        notes: list[Note] = []
        for index, line in enumerate(cast(_Lines, state)):
            if line.delayed:
                state, more = self._changed(cast(_Lines, state), index, *change(line))
                notes += more
        return Changed(state, tuple(notes))

    def maintain(self, state: Hashable, cpu: int, word: int, pa: int, *, delayed: bool) -> Changed:
        """Carry out a DC by VA, or issue it; what does not act on data to the PoC changes nothing."""
        if not lines.is_by_va(word):
            return Changed(state)
        held, index, _ = self._line(state, pa)
        line = lines.delay(held[index], cpu, word)
        return self._changed(held, index, *((line, 0) if delayed else lines.complete(line, cpu)))

    def choices(self, state: Hashable, unit: int) -> tuple[str, ...]:
        """Return what the caches may do to a line."""
        return tuple(choice.value for choice in lines.choices(cast(_Lines, state)[unit]))

    def choose(self, state: Hashable, unit: int, letter: str) -> Changed:
        """Let the caches do it."""
        held, choice = cast(_Lines, state), Choice(letter)
        changed = self._changed(held, unit, *lines.choose(held[unit], choice))
        note = Note(Kind.LINE, self.units[unit], lines.number_of(choice), 0)
        return changed._replace(notes=(*changed.notes, note))

    def at_end(self, state: Hashable) -> tuple[Note, ...]:
        """Return what dirty lines take away when they are written back."""
        return lines.at_end(zip(self.units, cast(_Lines, state), strict=True))

    def seen(self, state: Hashable, cpu: int, unit: int, cacheable: bool) -> bytes:
        """Return the line's bytes, or memory's."""
        return cast(_Lines, state)[unit].view(cacheable)

    def describe(self, before: Hashable, after: Hashable, unit: int) -> str:
        """Return ``absent``, ``clean`` or ``dirty``, and whether memory is newer; nothing: as before."""
        old, new = cast(_Lines, before)[unit], cast(_Lines, after)[unit]
        if (old.state, old.behind, old.dirty) == (new.state, new.behind, new.dirty):
            return "maintenance is on its way" if len(new.delayed) > len(old.delayed) else ""
        return f"{new.state}, memory is newer" if new.behind else new.state

    def _line(self, state: Hashable, pa: int) -> tuple[_Lines, int, int]:
        # The lines, the index of the one that holds `pa`, and the offset into it.
        first = pa & -self.granule
        return cast(_Lines, state), self._index[first], pa - first

    def _changed(self, held: _Lines, index: int, new: Line, lost: int) -> Changed:
        notes: list[Note] = []
        lines.note_lost(lambda *note: notes.append(Note(*note)), self.units[index], held[index], new, lost)
        return Changed(_put(held, index, new), tuple(notes))


def _put(held: _Lines, index: int, line: Line) -> _Lines:
    return (*held[:index], line, *held[index + 1 :])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
