"""Frames of 32-bit registers: what answers a load of each, and what takes a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

# Returns a register: the CPU, and the number of the register in its array.
Load = Callable[[int, int], int]
# Takes a store to a register: CPU, number, value, and the bits that are stored; others are 0 in the value.
Store = Callable[[int, int, int, int], None]

_U32 = (1 << 32) - 1


class Words:
    """The registers of one frame by offset. What is no register reads as 0 and ignores writes.

    An access of fewer bytes than a register has is one to these bytes, also where the manual has none.
    """

    def __init__(self) -> None:
        self._loads: dict[int, tuple[Load, int]] = {}
        self._stores: dict[int, tuple[Store, int]] = {}

    def add(
        self, offset: int, load: Load | None, store: Store | None = None, numbers: Iterable[int] = (0,)
    ) -> None:
        """Add those registers of an array at ``offset`` that are here; number n is at offset + 4 * n."""
        for number in numbers:
            if load:
                self._loads[offset + 4 * number] = load, number
            if store:
                self._stores[offset + 4 * number] = store, number

    def add_constants(self, offset: int, *values: int) -> None:
        """Add registers that are read only and never change, one after another."""
        self.add(offset, lambda _cpu, number: values[number], None, range(len(values)))

    def load(self, cpu: int, offset: int, size: int) -> int:
        """Return ``size`` bytes at ``offset``."""
        found = self._loads.get(offset & ~3)
        if found is None:
            return 0
        load, number = found
        return load(cpu, number) >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def store(self, cpu: int, offset: int, size: int, value: int) -> None:
        """Store ``size`` bytes at ``offset``."""
        found = self._stores.get(offset & ~3)
        if found is not None:
            store, number = found
            bits = ((1 << 8 * size) - 1 << 8 * (offset & 3)) & _U32
            store(cpu, number, value << 8 * (offset & 3) & bits, bits)


class Region:
    """A device that has registers and no time of its own."""

    def __init__(self, words: Words, state: Callable[[], Any], set_state: Callable[[Any], None]) -> None:
        self._words = words
        self.state, self.set_state = state, set_state

    def load(self, cpu: int, offset: int, size: int, now: int) -> int:
        """Return what the register reads."""
        return self._words.load(cpu, offset, size)

    def store(self, cpu: int, offset: int, size: int, value: int, now: int) -> None:
        """Store to the register."""
        self._words.store(cpu, offset, size, value)

    def tick(self, now: int) -> int | None:
        """Return None: nothing takes time."""
        return None
