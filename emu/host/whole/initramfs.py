"""An initramfs: a file as it is, or an init of one's own in assembly, alone in an archive.

:source: Linux v6.12 Documentation/driver-api/early-userspace/buffer-format.rst (newc); System V ABI, ELF-64
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emu.errors import InvalidCase
from emu.subject import Subject
from emu.subject.fragment import load_file

_TEXTS = (".S", ".s")
_ENTRY = "_start"
_DIRECTORY, _FILE, _CHARACTER_DEVICE = 0o040755, 0o100755, 0o020600
_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_PAGE = 0x1000
_EXEC, _AARCH64, _LOAD, _RWX = 2, 183, 1, 7


class _Member(NamedTuple):
    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def read_initrd(name: str) -> bytes:
    """Return the bytes of an initramfs; of a ``.S`` those of an archive with it as /init.

    The init begins at ``_start``, or at its first instruction, at EL0 with the stack that the kernel makes.
    There are /dev/console, /sys and /proc, the last two empty.

    :raises InvalidCase: the file cannot be read
    :raises AssemblyError: it cannot be assembled
    """
    path = Path(name)
    if path.suffix in _TEXTS:
        return _archive(_executable(load_file(path, nr_cpus=1)))
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidCase(f"initrd={name}: {error.strerror}") from None


def _executable(subject: Subject) -> bytes:
    # One segment, at the addresses that it was assembled for.
    (segment,) = subject.segments
    entry = subject.symbols.address(_ENTRY)
    start = segment.pa if entry is None else entry - subject.va_offset & 2**64 - 1
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = _ELF.pack(
        ident, _EXEC, _AARCH64, 1, start, _ELF.size, 0, 0, _ELF.size, _SEGMENT.size, 1, 0, 0, 0
    )
    size = len(segment.data)
    load = _SEGMENT.pack(_LOAD, _RWX, _PAGE, segment.pa, segment.pa, size, size, _PAGE)
    return (header + load).ljust(_PAGE, b"\0") + segment.data


def _archive(init: bytes) -> bytes:
    members = (
        _Member("dev", _DIRECTORY),
        _Member("dev/console", _CHARACTER_DEVICE, device=(5, 1)),
        _Member("proc", _DIRECTORY),
        _Member("sys", _DIRECTORY),
        _Member("init", _FILE, init),
        _Member("TRAILER!!!", 0),
    )
    return b"".join(part for number, member in enumerate(members) for part in _parts(number + 1, member))


def _parts(inode: int, member: _Member) -> Iterator[bytes]:
    name = member.name.encode() + b"\0"
    numbers = (inode, member.mode, 0, 0, 1, 0, len(member.data), 0, 0, *member.device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name
    yield head + bytes(-len(head) % 4)
    yield member.data + bytes(-len(member.data) % 4)
