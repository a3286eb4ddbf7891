"""Records by their fields: what looks at millions of them picks those that matter, without a step for each.

A record in memory is RECORD; each field is taken out of all of them at once, as one array.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Iterable, Sequence
from functools import cache, cached_property
from itertools import compress
from operator import ne

RECORD = struct.Struct("<BBHQQQ")
_WORDS = RECORD.size // 4
_PC_AT, _PA_AT = 1, 3  # the first words of these fields


@cache
def _table(kinds: tuple[int, ...]) -> bytes:
    return bytes(kind in kinds for kind in range(256))


class Columns:
    """The fields of records, in their order; each is taken out when it is first asked for.

    Records that are added later have none.
    """

    def __init__(self, records: bytes | bytearray) -> None:
        self._records = records
        self.kinds = bytes(memoryview(records)[:: RECORD.size])

    def __len__(self) -> int:
        return len(self.kinds)

    def are_all_of(self, records: bytes | bytearray) -> bool:
        """Tell whether they are those of ``records``, to which nothing was added since."""
        return records is self._records and len(records) == len(self.kinds) * RECORD.size

    @cached_property
    def sizes(self) -> bytes:
        """Bytes of each access, u8."""
        return bytes(self._view[1 :: RECORD.size])

    @cached_property
    def actors(self) -> array[int]:
        """CPUs, u16."""
        return array("H", bytes(self._view.cast("H")[1 :: 2 * _WORDS]))

    @cached_property
    def pcs(self) -> array[int]:
        """VAs, u64."""
        return self._u64(_PC_AT)

    @cached_property
    def pas(self) -> array[int]:
        """PAs, u64."""
        return self._u64(_PA_AT)

    def are(self, *kinds: int) -> bytes:
        """Return a byte for each record: 1 where its kind is one of these, else 0."""
        return self.kinds.translate(_table(kinds))

    @property
    def _view(self) -> memoryview:
        return memoryview(self._records)[: len(self.kinds) * RECORD.size]

    def _u64(self, at: int) -> array[int]:
        # A field of 8 bytes that begins at a word of each record.
        found = array("Q", bytes(8 * len(self.kinds)))
        words = self._view.cast("I")
        with memoryview(found) as view, view.cast("B") as octets, octets.cast("I") as into:
            into[0::2], into[1::2] = words[at::_WORDS], words[at + 1 :: _WORDS]
        return found


def in_all(column: array[int], times: int, more: int) -> array[int]:
    """Return a column of u64 with each multiplied and added to; none must get above 64 bits."""
    size = 8 * len(column)
    ones = int.from_bytes(b"\1\0\0\0\0\0\0\0" * len(column), "little")
    found = int.from_bytes(column.tobytes(), "little") * times + ones * more
    return array("Q", found.to_bytes(size, "little"))


def of_several(keys: Sequence[int], owners: Sequence[int]) -> set[int]:
    """Return the keys that have several owners; ``owners`` has that of each key."""
    last = dict(zip(keys, owners, strict=True))
    return set(compress(keys, map(ne, map(last.__getitem__, keys), owners)))


def low_bytes(column: array[int]) -> bytes:
    """Return the lowest byte of each u64 of a column."""
    with memoryview(column) as view, view.cast("B") as octets:
        return octets[::8].tobytes()


def with_bytes(column: array[int], at: int, octets: bytes) -> array[int]:
    """Return a column of u64 with byte ``at`` of each replaced; 0 is the lowest."""
    found = array("Q", column)
    with memoryview(found) as view, view.cast("B") as into:
        into[at::8] = octets
    return found


def with_owners(column: array[int], owners: array[int]) -> array[int]:
    """Return a column of u64 with the topmost 16 bits of each replaced by ``owners``."""
    found = array("Q", column)
    with memoryview(found) as view, view.cast("B") as octets, octets.cast("H") as into:
        into[3::4] = memoryview(owners)
    return found


def sums(some: bytes, others: bytes) -> bytes:
    """Return the sums of bytes, none of which is above 255."""
    return _flags(int.from_bytes(some) + int.from_bytes(others), len(some))


def both(some: bytes, others: bytes) -> bytes:
    """Return flags, a byte each, that are set in both."""
    return _flags(int.from_bytes(some) & int.from_bytes(others), len(some))


def either(some: bytes, others: bytes) -> bytes:
    """Return flags that are set in one at least."""
    return _flags(int.from_bytes(some) | int.from_bytes(others), len(some))


def among(keys: Iterable[int], found: Collection[int]) -> bytes:
    """Return a flag for each key: whether it is one of ``found``."""
    return bytes(map(found.__contains__, keys))


def _flags(number: int, count: int) -> bytes:
    return number.to_bytes(count)
