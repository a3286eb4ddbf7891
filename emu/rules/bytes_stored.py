"""Who stored a byte: all stores of a trace, for rules that know a value and look for its writer.

Where copies of a line differ, the last store to a byte is not always the one that its newer value is of: two
CPUs may have stored past each other. So the value decides, and of stores of one value the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Stored(NamedTuple):
    """A store: the number of its record, CPU, PC, PA, bytes, value (unsigned)."""

    record: int
    cpu: int
    pc: int
    pa: int
    size: int
    value: int


class BytesStored:
    """The stores so far."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], Stored] = {}  # by PA and value of one byte

    def add(self, store: Stored) -> None:
        """Take one more."""
        for at in range(store.size):
            self._last[store.pa + at, store.value >> 8 * at & 0xFF] = store

    def of_value(self, pa: int, size: int, value: int, *, unlike: int | None = None) -> Iterator[Stored]:
        """Yield for each of ``size`` bytes at ``pa`` the last store that gave it what it has in ``value``.

        :param unlike: bytes that are the same in this value are left out
        """
        for at in range(size):
            byte = value >> 8 * at & 0xFF
            if unlike is not None and unlike >> 8 * at & 0xFF == byte:
                continue
            if (found := self._last.get((pa + at, byte))) is not None:
                yield found
