"""Instruction traces: the general registers before every instruction, packed by columns.

Chunk body, tag 3 of a trace file (all integers little-endian):

    u16     number of groups
    groups  u16 CPU, u32 number of its rows
    zlib    columns, each over the rows of all groups in turn:
            u64 X0, ..., X30, SP, PC; u8 NZCV << 4 | EL << 2 | SPSel; u8 DAIF

A row is an instruction that was begun, and holds what it found. A chunk stands on its own: what does not
change is left to zlib, which gets one column after another.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import NamedTuple

ROWS_MAX = 1 << 12  # of a chunk: 2 MB as the engine has them
_GROUPS = struct.Struct("<H")
_GROUP = struct.Struct("<HI")
_U64S = 33
_ROW_BYTES = 8 * _U64S + 2
_UNPACKED_MAX = 1 << 31

# Makes the columns of so many rows, as the file has them, from the engine's copies of its state.
Columns = Callable[["array[int]", int], "tuple[list[array[int]], bytes, bytes]"]


class Step(NamedTuple):
    """One instruction: the registers as it found them, ``x`` X0..X30 and SP at 31 (u64), ``pc`` a VA."""

    cpu: int
    pc: int
    x: tuple[int, ...]
    nzcv: int  # bits 3:0
    el: int
    sp_sel: int
    daif: int  # bits 3:0


class Recorder:
    """Takes a copy of the engine's state at each instruction, and packs many of them at once.

    ``source`` is the running PE's state as the engine keeps it; ``columns`` knows its layout. Which CPU
    runs is said before it does, in ``running``. :meth:`flush` is for who owns the trace: it is called when
    the rows are as many as a chunk holds. A hook does what :meth:`take` does by itself, to save a call.
    """

    def __init__(self, source: memoryview, columns: Columns) -> None:
        self.running = 0
        self.flush: Callable[[], None] = lambda: None
        self.source = source
        self._columns = columns
        self._copies = array("Q", bytes(ROWS_MAX * len(source)))
        bytes_of = memoryview(self._copies).cast("B")
        places = [bytes_of[at : at + len(source)] for at in range(0, len(bytes_of), len(source))]
        self._free = iter(
            [*places, bytes_of[:0]]
        )  # nothing fits into the last: the rows are as many as can be
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
        words, flags, daif = self._columns(self._copies, rows)
        pcs = set(words[32])
        columns = [column.tobytes() for column in words] + [flags, daif]
        counts: dict[int, int] = {}
        for cpu, count in groups:
            counts[cpu] = counts.get(cpu, 0) + count
        if len(groups) > len(counts):
            columns = _sorted(columns, groups)
        head = b"".join(_GROUP.pack(cpu, count) for cpu, count in counts.items())
        return _GROUPS.pack(len(counts)) + head + zlib.compress(b"".join(columns), 1), pcs


def _sorted(columns: list[bytes], groups: list[tuple[int, int]]) -> list[bytes]:
    # Each column with the rows of one CPU together, the CPUs in the order in which they first come.
    places: dict[int, list[tuple[int, int]]] = {}
    at = 0
    for cpu, count in groups:
        places.setdefault(cpu, []).append((at, at + count))
        at += count
    runs = [run for found in places.values() for run in found]
    found = []
    for column in columns:
        width = len(column) // at
        found.append(b"".join([column[width * first : width * last] for first, last in runs]))
    return found


def unpack(body: bytes) -> dict[int, Iterator[Step]]:
    """Return the rows of a chunk by CPU.

    :raises ValueError: it is damaged; the text says how
    """
    if len(body) < _GROUPS.size:
        raise ValueError(f"{len(body)} bytes: cut off in its head")
    (count,) = _GROUPS.unpack_from(body)
    at = _GROUPS.size + count * _GROUP.size
    if at > len(body):
        raise ValueError(f"{len(body)} bytes: cut off in its {count} groups")
    groups = [_GROUP.unpack_from(body, _GROUPS.size + index * _GROUP.size) for index in range(count)]
    if len({cpu for cpu, _ in groups}) < count:
        raise ValueError(f"{count} groups: two of one CPU")
    columns, flags, daif = _columns(body[at:], sum(number for _, number in groups))
    found, first = {}, 0
    for cpu, number in groups:
        found[cpu] = _steps(cpu, columns, flags, daif, range(first, first + number))
        first += number
    return found


def values(body: bytes) -> set[int]:
    """Return every value (u64) that X0..X30, SP or PC has in a chunk that :func:`unpack` takes."""
    (count,) = _GROUPS.unpack_from(body)
    at = _GROUPS.size + count * _GROUP.size
    rows = sum(_GROUP.unpack_from(body, _GROUPS.size + index * _GROUP.size)[1] for index in range(count))
    return set().union(*_columns(body[at:], rows)[0])


def _columns(packed: bytes, rows: int) -> tuple[list[array[int]], bytes, bytes]:
    # The columns of a chunk, each over all its rows.
    if rows * _ROW_BYTES > _UNPACKED_MAX:
        raise ValueError(f"{rows} rows: too many")
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, rows * _ROW_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) != rows * _ROW_BYTES or not stream.eof or stream.unused_data:
        raise ValueError(f"{len(data)} bytes: {rows} rows have {rows * _ROW_BYTES}")
    words = memoryview(data)[: 8 * _U64S * rows]
    columns = [_u64s(words[8 * rows * index : 8 * rows * (index + 1)]) for index in range(_U64S)]
    return columns, data[8 * _U64S * rows : len(data) - rows], data[len(data) - rows :]


def _u64s(data: memoryview) -> array[int]:
    column = array("Q")
    column.frombytes(data)
    return column


def _steps(cpu: int, columns: list[array[int]], flags: bytes, daif: bytes, rows: range) -> Iterator[Step]:
    part = slice(rows.start, rows.stop)
    registers = zip(*(column[part] for column in columns[:32]), strict=True)
    for pc, x, flag, mask in zip(columns[32][part], registers, flags[part], daif[part], strict=True):
        yield Step(cpu, pc, x, flag >> 4, flag >> 2 & 3, flag & 1, mask)
