"""The common parts of ACPI tables: the header, the checksum, and structures with a type and a length.

Source: ACPI 6.5, 5.2.6 (System Description Table Header). All integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from emu.errors import InvalidCase

HEADER_SIZE = 36
TABLE_SIZE_MAX = 4 << 20  # bytes; 4,096 GICCs are 320 KiB
_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_CHECKSUM_AT = 9
_OEM_ID, _OEM_TABLE_ID, _CREATOR_ID = b"EMU   ", b"EMU     ", b"EMU "


class AcpiTable(NamedTuple):
    """One table whose length and checksum have been checked.

    :ivar name: of the file, for errors
    :ivar signature: four characters
    :ivar revision: u8 of the header
    :ivar data: all of it, header included
    """

    name: str
    signature: str
    revision: int
    data: bytes


def checksum(data: bytes) -> int:
    """Return the u8 that, in place of a zero, makes the sum of all bytes 0 modulo 256 (ACPI 6.5, 5.2.6)."""
    return -sum(data) & 0xFF


def make_table(signature: str, revision: int, body: bytes) -> bytes:
    """Return a complete table: header, body, checksum."""
    fields = (signature.encode(), HEADER_SIZE + len(body), revision, 0)
    header = _HEADER.pack(*fields, _OEM_ID, _OEM_TABLE_ID, 1, _CREATOR_ID, 1)
    return with_checksum(header + body)


def with_checksum(data: bytes) -> bytes:
    """Return the table with its checksum (byte 9) corrected."""
    cleared = data[:_CHECKSUM_AT] + b"\0" + data[_CHECKSUM_AT + 1 :]
    return cleared[:_CHECKSUM_AT] + bytes([checksum(cleared)]) + cleared[_CHECKSUM_AT + 1 :]


def check_table(data: bytes, name: str, signature: str, size_min: int = HEADER_SIZE) -> AcpiTable:
    """Return ``data`` as a table.

    :param name: of the file, for errors
    :param signature: expected signature
    :param size_min: least size in bytes
    :raises InvalidCase: another signature, a wrong length, a wrong checksum
    """
    if data[:4] != signature.encode():
        raise InvalidCase(f"{name}: signature={data[:4]!r}: a {signature} table begins with {signature}")
    if len(data) < size_min:
        raise InvalidCase(f"{name}: size={len(data)}: {signature} has at least {size_min} bytes")
    length, revision = struct.unpack_from("<IB", data, 4)
    if length != len(data):
        raise InvalidCase(f"{name}: length={length}: the file has {len(data)} bytes")
    total = sum(data) & 0xFF
    if total:
        raise InvalidCase(
            f"{name}: checksum={data[_CHECKSUM_AT]:#x}: the bytes add up to {total:#x}, not to 0"
        )
    return AcpiTable(name, signature, revision, data)


def structures(table: AcpiTable, first: int, what: str) -> Iterator[tuple[int, int, int]]:
    """Yield offset, type and length of each structure from offset ``first`` to the end of the table.

    :param what: name of such a structure, for errors
    :raises InvalidCase: one is shorter than its own header, or runs past the end
    """
    at, end = first, len(table.data)
    while at < end:
        if end - at < 2:
            raise InvalidCase(f"{table.name}: {what} at {at:#x}: type and length run past the end, {end:#x}")
        kind, length = table.data[at], table.data[at + 1]
        if length < 2:
            raise InvalidCase(
                f"{table.name}: {what} at {at:#x} length={length}: its header alone has 2 bytes"
            )
        if length > end - at:
            raise InvalidCase(f"{table.name}: {what} at {at:#x} length={length}: runs past the end, {end:#x}")
        yield at, kind, length
        at += length
