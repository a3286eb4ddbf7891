"""Relocatable objects, written byte by byte: tests of what reads them need no assembler."""

from __future__ import annotations

import struct
from dataclasses import dataclass

NOP = bytes.fromhex("1f2003d5")
WRITE, ALLOC, EXEC = 1, 2, 4
PROGBITS, NOTE, NOBITS = 1, 7, 8
GLOBAL, WEAK = 1, 2
UNDEF, ABS, COMMON = 0, 0xFFF1, 0xFFF2


@dataclass(frozen=True)
class Part:
    """A section to be; ``size`` is that of a NOBITS one."""

    name: str
    data: bytes = b""
    flags: int = ALLOC | EXEC
    align: int = 4
    kind: int = PROGBITS
    size: int = 0


@dataclass(frozen=True)
class Name:
    """A symbol to be; ``section`` counts parts from 1."""

    name: str
    section: int = UNDEF
    value: int = 0
    binding: int = GLOBAL
    kind: int = 0
    size: int = 0


@dataclass(frozen=True)
class Reloc:
    """A relocation to be; ``section`` counts parts from 1, ``symbol`` counts names from 1."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int = 0


def make_object(
    parts: list[Part], names: list[Name] | None = None, relocs: list[Reloc] | None = None
) -> bytes:
    """Return the bytes of an ELF64 little-endian AArch64 ET_REL file."""
    strings, symbols = b"\0", bytes(24)
    for name in names or []:
        info = name.binding << 4 | name.kind
        symbols += struct.pack("<IBBHQQ", len(strings), info, 0, name.section, name.value, name.size)
        strings += name.name.encode() + b"\0"
    symtab = len(parts) + 1
    rows = [(part.name, part.kind, part.flags, part.data, 0, 0, part.align, part.size) for part in parts]
    rows += [(".symtab", 2, 0, symbols, symtab + 1, 1, 8, 0), (".strtab", 3, 0, strings, 0, 0, 1, 0)]
    for index in sorted({reloc.section for reloc in relocs or []}):
        table = b"".join(
            struct.pack("<QIIq", reloc.offset, reloc.kind, reloc.symbol, reloc.addend)
            for reloc in relocs or []
            if reloc.section == index
        )
        rows.append((f".rela{parts[index - 1].name}", 4, 0x40, table, symtab, index, 8, 0))
    section_names, body, headers = b"\0", bytes(64), bytes(64)
    rows.append((".shstrtab", 3, 0, None, 0, 0, 1, 0))
    for name, kind, flags, data, link, info, align, size in rows:
        name_at = len(section_names)
        section_names += name.encode() + b"\0"
        content = section_names if data is None else data
        size = size if kind == NOBITS else len(content)
        headers += struct.pack("<IIQQQQIIQQ", name_at, kind, flags, 0, len(body), size, link, info, align, 0)
        body += content
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\2\1\1",
        1,
        183,
        1,
        0,
        0,
        len(body),
        0,
        64,
        0,
        0,
        64,
        len(rows) + 1,
        len(rows),
    )
    return head + body[64:] + headers
