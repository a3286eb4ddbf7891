"""The tables of a relocatable object: sections, symbols and relocations, each checked when it is read.

Sources: ELF-64 Object File Format 1.5; ELF for the Arm 64-bit Architecture (AAELF64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from emu.errors import InvalidSubject, Untestable
from emu.subject.relocation import RELOCATIONS, Formula, Relocation, type_name

SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
STB_LOCAL, STB_WEAK = 0, 2
STT_SECTION, STT_FILE, STT_TLS, STT_GNU_IFUNC = 3, 4, 6, 10
NAME_BYTES_MAX = 1024  # a file of long names that share their bytes must not fill the memory
_EM_AARCH64, _ET_REL = 183, 1
_LINKED = {2: "EXEC", 3: "DYN"}
_HEADER, _SECTION, _SYMBOL, _RELA = "<HHIQQQIHHHHHH", "<IIQQQQIIQQ", "<IBBHQQ", "<QIIq"
_SHT_SYMTAB, _SHT_RELA, _SHT_NOTE, _SHT_NOBITS, _SHT_REL, _SHT_CREL = 2, 4, 7, 8, 9, 0x4000_0014
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR, _SHF_TLS, _SHF_COMPRESSED = 1, 2, 4, 0x400, 0x800


class Rank(IntEnum):
    """The order of sections in memory."""

    CODE = 0
    READ_ONLY = 1
    DATA = 2
    ZEROED = 3


class ObjectSection(NamedTuple):
    """One section header; ``offset``, ``size`` and ``align`` in bytes."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory at run time and is neither a note nor an unwind table."""
        unread = self.kind == _SHT_NOTE or self.name.startswith(".eh_frame")
        return bool(self.flags & _SHF_ALLOC) and self.size > 0 and not unread

    @property
    def rank(self) -> Rank:
        """Its place in the order of sections in memory."""
        if self.kind == _SHT_NOBITS:
            return Rank.ZEROED
        if self.flags & _SHF_EXECINSTR:
            return Rank.CODE
        return Rank.DATA if self.flags & _SHF_WRITE else Rank.READ_ONLY


class Symbol(NamedTuple):
    """One symbol; ``value`` is an offset in its section, the number itself (ABS) or an alignment (COMMON)."""

    name: str
    binding: int
    kind: int
    section: int
    value: int
    size: int


class RelocationEntry(NamedTuple):
    """One relocation: X of the symbol and the addend goes to ``offset`` of section ``section``."""

    section: int
    offset: int
    relocation: Relocation
    symbol: Symbol
    addend: int


class ObjectFile:
    """A little-endian AArch64 ELF of type REL.

    :param data: the file
    :param name: its name in messages
    :raises InvalidSubject: another class, byte order, machine or type, or tables outside the file
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        if len(data) < 64 or data[:4] != b"\x7fELF":
            raise self.error(f"{data[:4]!r} in {len(data)} bytes: not an ELF file")
        if data[4] != 2 or data[5] != 1:
            raise self.error(f"class {data[4]}, byte order {data[5]}: must be 64-bit little-endian (2, 1)")
        kind, machine, _, _, _, offset, _, _, _, _, entry_size, count, names_at = struct.unpack_from(
            _HEADER, data, 16
        )
        if machine != _EM_AARCH64:
            raise self.error(f"ELF machine {machine}: must be AArch64 ({_EM_AARCH64})")
        if kind in _LINKED:
            linked = f"ELF type {_LINKED[kind]}: linked already"
            raise self.error(f"{linked}; give the object (.o) that it was linked from, or a vmlinux")
        if kind != _ET_REL:
            raise self.error(f"ELF type {kind}: must be a relocatable object (1)")
        if not count or entry_size != 64:
            raise self.error(f"{count} section headers of {entry_size} bytes: must be some, of 64")
        self._rows = list(struct.iter_unpack(_SECTION, self.slice(offset, count * 64, "section headers")))
        names = self._names(names_at)
        self.sections = tuple(
            ObjectSection(self._string(names, row[0]), row[1], row[2], row[4], row[5], row[6], row[7], row[8])
            for row in self._rows
        )
        for section in self.sections:
            if section.is_loaded and section.flags & (_SHF_TLS | _SHF_COMPRESSED):
                raise self.error(f"{section.name}: thread-local or compressed: neither is loaded here")
        tables = [index for index, section in enumerate(self.sections) if section.kind == _SHT_SYMTAB]
        if len(tables) > 1:
            raise self.error(f"{len(tables)} symbol tables: must be one at most")
        self._symtab = tables[0] if tables else None

    def error(self, what: str) -> InvalidSubject:
        """Return an error whose message starts with the file's name."""
        return InvalidSubject(f"{self.name}: {what}")

    def slice(self, offset: int, size: int, what: str) -> bytes:
        """Return bytes of the file; raise InvalidSubject when it ends before them."""
        if offset + size > len(self.data):
            raise self.error(f"{what} end at {offset + size:#x}: the file has {len(self.data):#x} bytes")
        return self.data[offset : offset + size]

    def content(self, section: ObjectSection) -> bytes:
        """Return the bytes of a section that has some in the file."""
        return self.slice(section.offset, section.size, f"bytes of {section.name}")

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbol table; empty when the file has none."""
        if self._symtab is None:
            return ()
        table = self.sections[self._symtab]
        if table.size % 24:
            raise self.error(f"{table.name} has {table.size} bytes: an entry has 24")
        names = self._names(table.link)
        return tuple(
            Symbol(self._string(names, name_at), info >> 4, info & 15, section, value, size)
            for name_at, info, _, section, value, size in struct.iter_unpack(_SYMBOL, self.content(table))
        )

    def relocations(self) -> list[RelocationEntry]:
        """Return the relocations of loaded sections, in the order of the file.

        :raises Untestable: an unknown relocation type; all other errors are InvalidSubject
        """
        found: list[RelocationEntry] = []
        total = 0
        for section in self.sections:
            if section.kind not in (_SHT_RELA, _SHT_REL, _SHT_CREL):
                continue
            if section.info >= len(self.sections):
                raise self.error(f"{section.name} applies to section {section.info} of {len(self.sections)}")
            if not self.sections[section.info].is_loaded:
                continue  # debug information, unwind tables
            if section.kind != _SHT_RELA or section.size % 24:
                kind = f"section type {section.kind:#x} with {section.size} bytes"
                raise self.error(f"{section.name}: {kind}: must be RELA (4), 24 bytes an entry")
            total += section.size
            if total > len(self.data):
                raise self.error(f"{section.name}: relocations of {total:#x} bytes: more than the file has")
            found += self._entries_of(section)
        return found

    def _entries_of(self, section: ObjectSection) -> Iterator[RelocationEntry]:
        if section.link != self._symtab:
            raise self.error(f"{section.name} links section {section.link}: that is no symbol table")
        target, symbols = self.sections[section.info], self.symbols
        for offset, kind, number, addend in struct.iter_unpack(_RELA, self.content(section)):
            where = f"{target.name}+{offset:#x}"
            relocation = RELOCATIONS.get(kind)
            if relocation is None:
                raise Untestable(f"{self.name}: {where}: {type_name(kind)} is not known here")
            if relocation.formula is Formula.NONE:
                continue
            if number >= len(symbols):
                raise self.error(f"{where}: {relocation.name} of symbol {number}: there are {len(symbols)}")
            if target.rank is Rank.ZEROED or offset + relocation.size > target.size:
                raise self.error(f"{where}: {relocation.name}: not inside the {target.size:#x} bytes there")
            yield RelocationEntry(section.info, offset, relocation, symbols[number], addend)

    def _names(self, index: int) -> bytes:
        # The string table that is section `index`.
        if index >= len(self._rows):
            raise self.error(f"names are in section {index}: there are {len(self._rows)}")
        return self.slice(self._rows[index][4], self._rows[index][5], "names")

    def _string(self, table: bytes, offset: int) -> str:
        # A name with unprintable characters escaped, because messages have one line.
        end = table.find(b"\0", offset, offset + NAME_BYTES_MAX + 1)
        if end < 0:
            raise self.error(
                f"a name at {offset:#x} of {len(table):#x} bytes does not end within {NAME_BYTES_MAX}"
            )
        return table[offset:end].decode("latin-1").encode("unicode_escape").decode()
