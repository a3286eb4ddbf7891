"""An arm64 vmlinux: its load image, its symbols and its sections, read from the ELF tables with ``struct``.

A Python object for each of 100,000 symbols would cost seconds.
Source: ELF-64 Object File Format 1.5; ELF for the Arm 64-bit Architecture (IHI 0056).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from emu.errors import InvalidSubject
from emu.subject.image import IMAGE_SIZE_MAX

_EM_AARCH64 = 183
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _SHT_SYMTAB, _SHT_NOBITS, _SHF_EXECINSTR, _SHF_WRITE = 1, 2, 8, 4, 1
_KEPT_TYPES = (0, 1, 2)  # STT_NOTYPE, STT_OBJECT, STT_FUNC
_DROPPED_PREFIXES = (b"$", b".L", b"__pi_$", b"__pi_.L", b"__crc_")  # as scripts/mksysmap drops them
_HEADER, _PHDR, _SHDR, _SYMBOL = "<HHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ", "<IBBHQQ"


@dataclass(frozen=True, slots=True)
class LoadSegment:
    """One PT_LOAD: ``memory_size`` bytes at ``va`` (u64), the first of them from the file."""

    va: int
    offset: int
    file_size: int
    memory_size: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; ``offset`` and ``size`` in bytes, ``va`` u64."""

    name: str
    kind: int
    flags: int
    va: int
    offset: int
    size: int
    link: int


class Elf:
    """A little-endian AArch64 ELF of type EXEC or DYN.

    :param data: the file
    :param name: its name in messages
    :raises InvalidSubject: not ELF, another class, byte order, machine or type, or tables outside the file
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        if len(data) < 64 or data[:4] != b"\x7fELF":
            raise InvalidSubject(f"{name}: {data[:4]!r} in {len(data)} bytes: not an ELF file")
        if data[4] != 2 or data[5] != 1:
            order = ": big-endian" if data[5] == 2 else ""
            raise InvalidSubject(
                f"{name}: class {data[4]}, byte order {data[5]}{order}: must be 64-bit little-endian (2, 1)"
            )
        kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = (
            struct.unpack_from(_HEADER, data, 16)
        )
        if machine != _EM_AARCH64:
            raise InvalidSubject(f"{name}: ELF machine {machine}: must be AArch64 ({_EM_AARCH64})")
        if kind not in (_ET_EXEC, _ET_DYN):
            raise InvalidSubject(f"{name}: ELF type {kind}: must be EXEC (2) or DYN (3), that is linked")
        if phnum and phentsize != 56 or shnum and shentsize != 64:
            raise InvalidSubject(f"{name}: ELF entry sizes {phentsize}, {shentsize}: must be 56, 64")
        headers = struct.iter_unpack(_PHDR, self._slice(phoff, phnum * 56, "program headers"))
        self.loads = tuple(LoadSegment(h[3], h[2], h[5], h[6]) for h in headers if h[0] == _PT_LOAD and h[6])
        rows = list(struct.iter_unpack(_SHDR, self._slice(shoff, shnum * 64, "section headers")))
        names = b""
        if shstrndx < len(rows):
            names = self._slice(rows[shstrndx][4], rows[shstrndx][5], "section names")
        self.sections = tuple(Section(_string(names, r[0]), r[1], r[2], r[3], r[4], r[5], r[6]) for r in rows)

    def section(self, name: str) -> bytes | None:
        """Return the bytes of the section ``name``, or None; raise InvalidSubject when it leaves the file."""
        for section in self.sections:
            if section.name == name and section.kind != _SHT_NOBITS:
                return self._slice(section.offset, section.size, name)
        return None

    def image(self) -> tuple[int, bytes]:
        """Return (VA of the first byte, the file bytes of all PT_LOADs at their distances, gaps zero).

        ``objcopy -O binary`` writes the same bytes as the raw Image.

        :raises InvalidSubject: no PT_LOAD, one outside the file, or an image over 512 MiB
        """
        loads = [load for load in self.loads if load.file_size]
        if not loads:
            raise InvalidSubject(f"{self.name}: no PT_LOAD segment with bytes: not a linked kernel")
        base = min(load.va for load in loads)
        size = max(load.va + load.file_size for load in loads) - base
        if size > IMAGE_SIZE_MAX:
            raise InvalidSubject(
                f"{self.name}: PT_LOADs span {size:#x} bytes: must be at most {IMAGE_SIZE_MAX:#x}"
            )
        out = bytearray(size)
        for load in loads:
            at = load.va - base
            out[at : at + load.file_size] = self._slice(load.offset, load.file_size, "PT_LOAD")
        return base, bytes(out)

    def symbols(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield (name, VA, size in bytes, nm type letter) of .symtab: functions, objects and untyped labels.

        Mapping symbols ($x, $d), local labels, section, file and undefined symbols are left out, and so are
        absolute ones below the image.
        """
        for table in self.sections:
            if table.kind == _SHT_SYMTAB:
                yield from self._table(table)

    def _table(self, table: Section) -> Iterator[tuple[str, int, int, str]]:
        if table.link >= len(self.sections):
            raise InvalidSubject(
                f"{self.name}: .symtab links section {table.link}: there are {len(self.sections)}"
            )
        strings = self.sections[table.link]
        names = self._slice(strings.offset, strings.size, ".strtab")
        lowest = min((load.va for load in self.loads), default=0)
        letters = [_letter(section) for section in self.sections]
        rows = self._slice(table.offset, table.size - table.size % 24, ".symtab")
        for name_at, info, _, index, va, size in struct.iter_unpack(_SYMBOL, rows):
            if not index or not name_at or info & 15 not in _KEPT_TYPES or va < lowest:
                continue
            name = names[name_at : names.find(b"\0", name_at)]
            if not name or name.startswith(_DROPPED_PREFIXES):
                continue
            letter = letters[index] if index < len(letters) else "a"
            yield name.decode("latin-1"), va, size, letter.upper() if info >> 4 else letter

    def system_map(self) -> bytes:
        """Return .symtab as System.map text, sorted by VA; empty when the file is stripped."""
        rows = sorted((va, name, letter) for name, va, _, letter in self.symbols())
        return "".join([f"{va:016x} {letter} {name}\n" for va, name, letter in rows]).encode("latin-1")

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self.data):
            end = f"{what} end at {offset + size:#x}"
            raise InvalidSubject(f"{self.name}: {end}: the file has {len(self.data):#x} bytes")
        return self.data[offset : offset + size]


def first_bytes_of(head: bytes) -> int | None:
    """Return the file offset of the lowest segment's bytes of a linked AArch64 ELF, or None.

    :param head: the first 64 KiB of the file, or all of it; program headers beyond it are ignored
    """
    try:
        elf = Elf(head[:40] + bytes(8) + head[48:60] + bytes(4) + head[64:], "")
    except (InvalidSubject, struct.error):
        return None
    loads = [load for load in elf.loads if load.file_size]
    return min(loads, key=lambda load: load.va).offset if loads else None


def _string(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset)
    return table[offset : end if end >= 0 else None].decode("latin-1")


def _letter(section: Section) -> str:
    # The letter nm gives to a local symbol of this section.
    if section.flags & _SHF_EXECINSTR:
        return "t"
    if section.kind == _SHT_NOBITS:
        return "b"
    return "d" if section.flags & _SHF_WRITE else "r"
