"""Memory of an exploration: what was stored since the beginning, by u64 cells, with a hash and an undo list.

Memory is kept beside the global states because it is large and changes little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.explore.global_state import Undo
from emu.operation import Access

CELL = 8  # bytes

# (PA >> 3, shift, mask, value, is a store) of each part of an access that lies in one cell, the lower first.
Parts = tuple[tuple[int, int, int, int, bool], ...]


class Cells:
    """The cells, by PA >> 3; ``read`` gives the value (u64) that one has at the beginning, by PA and size."""

    def __init__(self, read: Callable[[int, int], int]) -> None:
        self.stored: dict[int, int] = {}
        self._initial: dict[int, int] = {}
        self._read = read

    def value(self, number: int) -> int:
        """Return the u64 at PA ``number << 3``."""
        value = self.stored.get(number)
        if value is None:
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
        found = [self.value(number) >> shift & mask for number, shift, mask, _, store in parts if not store]
        if not found:
            return None
        return tuple(found) if len(found) != 1 else found[0]

    def load(self, access: Access) -> int:
        """Return the value of a load, over two cells too."""
        value = done = 0
        for number, shift, mask, _, _ in parts_of((access,)):
            value |= (self.value(number) >> shift & mask) << done
            done += mask.bit_length()
        return value

    def store(self, parts: Parts, digest: int, undo: Undo) -> int:
        """Make the stores among ``parts``; return the hash of memory that ``digest`` becomes."""
        for number, shift, mask, value, is_store in parts:
            if not is_store:
                continue
            old = self.value(number)
            new = old & ~(mask << shift) | value << shift
            if new != old:
                undo.append((number, self.stored.get(number)))
                digest ^= hash((number, old)) ^ hash((number, new))
                self.stored[number] = new
        return digest

    def undo(self, undo: Undo) -> None:
        """Restore the cells that a transition changed."""
        for number, old in reversed(undo):
            if old is None:
                del self.stored[number]
            else:
                self.stored[number] = old


def parts_of(accesses: tuple[Access, ...]) -> Parts:
    """Return the parts of accesses by cell."""
    found = []
    for access in accesses:
        pa, left, value = access.pa, access.size, access.value
        while left:
            size = min(left, CELL - pa % CELL)
            mask = (1 << 8 * size) - 1
            found.append((pa >> 3, 8 * (pa % CELL), mask, value & mask, access.is_store))
            pa, left, value = pa + size, left - size, value >> 8 * size
    return tuple(found)
