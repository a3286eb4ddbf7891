"""Memory of an exploration: what was stored since the beginning, by u64 cells; a digest and an undo list.

Memory is kept beside the global states because it is large and changes little. A global state has the digest
alone: 128 bits, the exclusive or over all cells of BLAKE2b of their PA and of their value then and now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from emu.operation import Access
from emu.semantics.transition import value_of

CELL = 8  # bytes

# (PA >> 3, shift, mask, value, is a store) of each part of an access that lies in one cell, the lower first.
Parts = tuple[tuple[int, int, int, int, bool], ...]
# The cells that a transition changed, and what each had before; None: nothing was stored there yet.
Undo = list[tuple[int, int | None]]


class Cells:
    """The cells, by PA >> 3; ``read`` gives the value (u64) that one has at the beginning, by PA and size."""

    def __init__(self, read: Callable[[int, int], int]) -> None:
        self.stored: dict[int, int] = {}
        self._initial: dict[int, int] = {}
        self._digests: dict[tuple[int, int], int] = {}
        self._read = read

    def value(self, number: int) -> int:
        """Return the u64 at PA ``number << 3``."""
        value = self.stored.get(number)
        if value is None:
            value = self._initial.get(number)
        return self.initial(number) if value is None else value

    def initial(self, number: int) -> int:
        """Return the u64 that was there at the beginning."""
        value = self._initial.get(number)
        if value is None:
            value = self._initial[number] = self._read(number << 3, CELL)
        return value

    def loaded(self, parts: Parts) -> Any:
        """Return what the loads among ``parts`` give their actor: one value, a tuple of several, or None.

        Only for accesses that each lie in one cell.
        """
        if len(parts) == 1:
            number, shift, mask, _, is_store = parts[0]
            return None if is_store else self.value(number) >> shift & mask
        if not parts:
            return None
        return value_of(
            [self.value(number) >> shift & mask for number, shift, mask, _, store in parts if not store]
        )

    def load(self, access: Access) -> int:
        """Return the value of a load, over two cells too."""
        value = done = 0
        for number, shift, mask, _, _ in parts_of((access,)):
            value |= (self.value(number) >> shift & mask) << done
            done += mask.bit_length()
        return value

    def store(self, parts: Parts, digest: int, undo: Undo) -> int:
        """Make the stores among ``parts``; return what the digest of memory ``digest`` becomes."""
        for number, shift, mask, value, is_store in parts:
            if not is_store:
                continue
            old = self.value(number)
            new = old & ~(mask << shift) | value << shift
            if new != old:
                undo.append((number, self.stored.get(number)))
                digest ^= self._digest(number, old) ^ self._digest(number, new)
                self.stored[number] = new
        return digest

    def _digest(self, number: int, value: int) -> int:
        # What a value of one cell contributes. Python's hash() will not do: it is modulo 2^61-1.
        key = (number, value)
        found = self._digests.get(key)
        if found is None:
            data = number.to_bytes(8, "little") + value.to_bytes(CELL, "little")
            found = self._digests[key] = int.from_bytes(blake2b(data, digest_size=16).digest(), "little")
        return found

    def undo(self, undo: Undo) -> None:
        """Restore the cells that a transition changed."""
        for number, old in reversed(undo):
            if old is None:
                del self.stored[number]
            else:
                self.stored[number] = old


class LoggedCells(Cells):
    """Cells that know which of them have changed since somebody asked."""

    def __init__(self, read: Callable[[int, int], int]) -> None:
        super().__init__(read)
        self._changed: dict[int, None] = {}

    def store(self, parts: Parts, digest: int, undo: Undo) -> int:
        """Make the stores among ``parts``; return what the digest of memory ``digest`` becomes."""
        before = len(undo)
        digest = super().store(parts, digest, undo)
        self.has_changed(number for number, _ in undo[before:])
        return digest

    def undo(self, undo: Undo) -> None:
        """Restore the cells that a transition changed."""
        super().undo(undo)
        self.has_changed(number for number, _ in undo)

    def has_changed(self, numbers: Iterable[int]) -> None:
        """Let these be among the changed ones."""
        self._changed.update(dict.fromkeys(numbers))

    def take_changed(self) -> dict[int, None]:
        """Return the numbers of the cells that may have changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed


def parts_of(accesses: tuple[Access, ...]) -> Parts:
    """Return the parts of accesses by cell."""
    return tuple(
        (part.pa // CELL, 8 * (part.pa % CELL), (1 << 8 * part.size) - 1, part.value, part.is_store)
        for access in accesses
        for part in split(access, CELL)
    )


def split(access: Access, unit: int) -> Iterator[Access]:
    """Yield the parts of an access that lie in one unit each, of ``unit`` bytes, the lower first."""
    pa, left, value = access.pa, access.size, access.value
    while left:
        size = min(left, unit - pa % unit)
        yield access._replace(pa=pa, size=size, value=value & (1 << 8 * size) - 1)
        pa, left, value = pa + size, left - size, value >> 8 * size
