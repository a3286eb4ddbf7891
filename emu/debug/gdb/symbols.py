"""Symbols for gdb, at both addresses that code has: an ELF file without code, and the script that loads it.

It has .debug_frame (:mod:`emu.debug.gdb.frame_section`), by which gdb unwinds the boot path.

Source: ELF-64 Object File Format 1.5; ELF for the Arm 64-bit Architecture (IHI 0056).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emu.debug.gdb.frame_section import frame_section
from emu.subject import Subject

_EM_AARCH64, _ET_EXEC = 183, 2
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS = 1, 2, 3, 8
_ALLOC, _EXECUTE, _WRITE = 2, 4, 1
_STT_OBJECT, _STT_FUNC, _GLOBAL, _ABSOLUTE = 1, 2, 1 << 4, 0xFFF1
_PAGE = 4096
_RUNS_MAX = 0xFE00  # sections that symbols can name
_SYMBOL, _SECTION = struct.Struct("<IBBHQQ"), struct.Struct("<IIQQQQIIQQ")
_GO_BACK = "maintenance flush register-cache"
_READ_ONCE = [
    "# While the machine stands nothing but a command changes memory: gdb asks once for what it looks at.",
    "mem 0 0 rw cache",
    "define hookpost-monitor",
    "enable mem",  # drops what it has
    "end",
]


@dataclass(slots=True)
class _Run:
    # Consecutive symbols that are all code, or all data; `end` is the VA after the last byte.
    code: bool
    va: int
    end: int


def symbol_file(subject: Subject) -> bytes:
    """Return an ELF file with every symbol of ``subject`` at its VA.

    Its sections have addresses and no bytes: gdb takes code from the machine.
    """
    runs: list[_Run] = []
    tables = {False: bytearray(_SYMBOL.size), True: bytearray()}  # locals come first
    names = bytearray(b"\0")
    for va, letter, name in _rows(subject):
        if letter in "aA":
            index = _ABSOLUTE
        else:
            code = letter in "tTwW"
            if not runs or (runs[-1].code != code and va > runs[-1].va and len(runs) < _RUNS_MAX):
                if runs:
                    runs[-1].end = va
                runs.append(_Run(code, va, va + _PAGE))
            runs[-1].end = max(runs[-1].end, va + 4)
            index = len(runs)
        kind = _STT_FUNC if letter in "tTwW" else _STT_OBJECT
        is_global = letter.isupper()
        binding = _GLOBAL if is_global else 0
        tables[is_global] += _SYMBOL.pack(len(names), binding | kind, 0, index, va, 0)
        names += name.encode("latin-1", errors="replace") + b"\0"
    if runs:
        runs[-1].end = (runs[-1].end + _PAGE - 1) // _PAGE * _PAGE % 2**64 or 2**64 - 1
    tables_of = (bytes(tables[False]), bytes(tables[True]), bytes(names))
    return _elf(runs, *tables_of, frame_section(subject))


def _rows(subject: Subject) -> Iterator[tuple[int, str, str]]:
    # (VA, nm's letter, name), by VA.
    for row in subject.symbols.text.decode("latin-1").splitlines():
        yield int(row[:16], 16), row[17], row[19:]


def _elf(runs: list[_Run], private: bytes, public: bytes, names: bytes, frames: bytes) -> bytes:
    section_names = bytearray(b"\0")

    def named(name: str) -> int:
        at = len(section_names)
        section_names.extend(name.encode() + b"\0")
        return at

    headers = [bytes(_SECTION.size)]
    counts = {True: 0, False: 0}
    for run in runs:
        base = ".text" if run.code else ".data"
        name = f"{base}.{counts[run.code]}" if counts[run.code] else base
        counts[run.code] += 1
        flags = _ALLOC | (_EXECUTE if run.code else _WRITE)
        size = max(run.end - run.va, 4)
        headers.append(_SECTION.pack(named(name), _SHT_NOBITS, flags, run.va, 64, size, 0, 0, 4, 0))
    at, symbols, first_public = 64, private + public, len(private) // _SYMBOL.size
    strings_index = len(headers) + 1
    headers.append(
        _SECTION.pack(
            named(".symtab"),
            _SHT_SYMTAB,
            0,
            0,
            at,
            len(symbols),
            strings_index,
            first_public,
            8,
            _SYMBOL.size,
        )
    )
    at += len(symbols)
    headers.append(_SECTION.pack(named(".strtab"), _SHT_STRTAB, 0, 0, at, len(names), 0, 0, 1, 0))
    at += len(names)
    headers.append(_SECTION.pack(named(".debug_frame"), _SHT_PROGBITS, 0, 0, at, len(frames), 0, 0, 1, 0))
    at += len(frames)
    own = named(".shstrtab")
    headers.append(_SECTION.pack(own, _SHT_STRTAB, 0, 0, at, len(section_names), 0, 0, 1, 0))
    at += len(section_names)
    padding = -at % 8
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack(
        "<HHIQQQIHHHHHH",
        _ET_EXEC,
        _EM_AARCH64,
        1,
        0,
        0,
        at + padding,
        0,
        64,
        0,
        0,
        64,
        len(headers),
        len(headers) - 1,
    )
    return ident + head + symbols + names + frames + bytes(section_names) + bytes(padding) + b"".join(headers)


def script(subject: Subject, symbols: Path, place: str) -> str:
    """Return a gdb script: symbols at their VAs and at their PAs, then the connection.

    :param symbols: where :func:`symbol_file` has been written
    :param place: ADDRESS:PORT of the server; nothing: it does not connect
    """
    quoted = str(symbols).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "# The same symbols twice: at their VAs, and at the PAs where they run before the MMU is on.",
        "set confirm off",
        "set architecture aarch64",
        f'file "{quoted}"',
        f'add-symbol-file "{quoted}" -o {-subject.va_offset % 2**64:#x}',
        "# A command that moves the machine behind gdb's back lets gdb forget its registers.",
    ]
    for name, command in (("leave-loop", "leave-loop"), ("go-to", "goto $arg0")):
        lines += [f"define {name}", f"monitor {command}", _GO_BACK, "frame", "end"]
    lines += _READ_ONCE
    lines += [f"target remote {place}"] if place else []
    return "".join(f"{line}\n" for line in lines)
