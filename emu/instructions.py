"""Instruction traces: the general registers before every instruction, packed by columns.

Chunk body, tag 3 of a trace file (all integers little-endian):

    u16     number of groups
    groups  u16 CPU, u32 number of its rows
    zlib    columns, each over the rows of all groups in turn:
            u64 X0, ..., X30, SP, PC; u8 NZCV << 4 | EL << 2 | SPSel; u8 DAIF

A row is an instruction that was begun, with the registers before it. A chunk can be read by itself. Values
that do not change compress well, because zlib gets one column after another.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

ROWS_MAX = 1 << 12  # rows of a chunk: 2 MB in the engine's form
_GROUPS = struct.Struct("<H")
_GROUP = struct.Struct("<HI")
_U64S = 33
_ROW_BYTES = 8 * _U64S + 2
_UNPACKED_MAX = 1 << 31


class InstructionRow(NamedTuple):
    """One instruction and the registers before it: ``x`` X0..X30 and SP at 31 (u64), ``pc`` a VA."""

    cpu: int
    pc: int
    x: tuple[int, ...]
    nzcv: int  # bits 3:0
    el: int
    sp_sel: int
    daif: int  # bits 3:0


class InstructionRecorder(Protocol):
    """Collects a row for each instruction, and packs many rows at once.

    :ivar running: logical CPU whose PE runs next; the caller sets it before the PE runs
    :ivar flush: called when there are ROWS_MAX rows; the owner of the trace sets it
    """

    running: int
    flush: Callable[[], None]

    def account(self) -> int:
        """Return the number of rows since the last call; they belong to the running CPU."""

    def pack(self) -> tuple[bytes, set[int]]:
        """Return the body of a chunk with all accounted rows, and their PCs; both empty without rows."""


def pack(words: list[array[int]], flags: bytes, daif: bytes, groups: list[tuple[int, int]]) -> bytes:
    """Return the body of a chunk.

    :param words: X0..X30, SP and PC, a column over all rows each
    :param flags, daif: a byte of each row, as the chunk has them
    :param groups: CPU and number of rows, in turn; a CPU may come again
    """
    columns = [column.tobytes() for column in words] + [flags, daif]
    counts: dict[int, int] = {}
    for cpu, count in groups:
        counts[cpu] = counts.get(cpu, 0) + count
    if len(groups) > len(counts):
        columns = _sorted(columns, groups)
    head = b"".join(_GROUP.pack(cpu, count) for cpu, count in counts.items())
    return _GROUPS.pack(len(counts)) + head + zlib.compress(b"".join(columns), 1)


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


def unpack(body: bytes) -> dict[int, Iterator[InstructionRow]]:
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


def _steps(
    cpu: int, columns: list[array[int]], flags: bytes, daif: bytes, rows: range
) -> Iterator[InstructionRow]:
    part = slice(rows.start, rows.stop)
    registers = zip(*(column[part] for column in columns[:32]), strict=True)
    for pc, x, flag, mask in zip(columns[32][part], registers, flags[part], daif[part], strict=True):
        yield InstructionRow(cpu, pc, x, flag >> 4, flag >> 2 & 3, flag & 1, mask)
