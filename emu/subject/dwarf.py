"""Source lines of a vmlinux from .debug_line, read by pyelftools, one compilation unit at a time, on demand.

A kernel has thousands of units, whose line programs take seconds altogether; .debug_aranges maps an address
to its unit. Code in .idmap.text, which is all code that runs before the MMU is on, has no lines: the kernel's
source does not mark that section as code, and GNU as emits line numbers for code sections alone.

pyelftools raises many kinds of exception on a malformed file. Such a file is treated as one without lines.

:source: DWARF Debugging Information Format, versions 4 and 5, sections 6.1.2 and 6.2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from elftools.elf.elffile import ELFFile

from emu.subject.lines import Lines

_Row = tuple[int, int, str, int]  # first VA, VA behind, file, line


class DwarfLines(Lines):
    """Lines of an ELF, which is read on the first query.

    :param path: the vmlinux
    :param va_offset: VA minus PA of the image
    """

    def __init__(self, path: Path, va_offset: int) -> None:
        super().__init__({})
        self.folders = (path.resolve().parent,)
        self._path = path
        self._va_offset = va_offset
        self._units: dict[int, list[_Row]] = {}  # by offset of the unit

    def at(self, pa: int) -> tuple[str, int] | None:
        """Return the file and line of the instruction at ``pa``, or None."""
        va = (pa + self._va_offset) % 2**64
        offset = self._unit_of(va)
        for first, behind, file, line in self._rows(offset) if offset is not None else ():
            if first <= va < behind:
                return file, line
        return None

    def find(self, file: str, line: int) -> int | None:
        """Return the PA of the first instruction from a line of ``file`` (its path or its name), or None.

        Units named ``file`` are searched first; a header is searched in all units.
        """
        named = [offset for offset, name in self._names if _is_same(name, file)]
        for offset in named or [offset for offset, _name in self._names]:
            found = [
                first
                for first, _, path, number in self._rows(offset)
                if number == line and _is_same(path, file)
            ]
            if found:
                return (min(found) - self._va_offset) % 2**64
        return None

    def __bool__(self) -> bool:
        return self._dwarf is not None

    @cached_property
    def _dwarf(self) -> Any:
        # None: no such file, not an ELF, or one without line programs.
        try:
            with self._path.open("rb") as file:  # its sections are read whole
                elf = ELFFile(file)
                if elf.get_section_by_name(".debug_line") is None:
                    return None
                return elf.get_dwarf_info(relocate_dwarf_sections=False)
        except Exception:
            return None

    @cached_property
    def _aranges(self) -> Any:
        with suppress(Exception):
            return self._dwarf.get_aranges() if self._dwarf is not None else None
        return None

    def _unit_of(self, va: int) -> int | None:
        aranges = self._aranges
        offset: int | None = aranges.cu_offset_at_addr(va) if aranges and aranges.entries else None
        return offset

    @cached_property
    def _names(self) -> list[tuple[int, str]]:
        # (offset, source file) of every unit.
        found: list[tuple[int, str]] = []
        with suppress(Exception):
            for unit in self._dwarf.iter_CUs() if self._dwarf is not None else ():
                name = unit.get_top_DIE().attributes.get("DW_AT_name")
                if name is not None:
                    found.append((unit.cu_offset, _text(name.value)))
        return found

    def _rows(self, offset: int) -> list[_Row]:
        if offset not in self._units:
            self._units[offset] = []
            with suppress(Exception):
                unit = self._dwarf.get_CU_at(offset)
                self._units[offset] = sorted(_rows(self._dwarf.line_program_for_CU(unit)))
        return self._units[offset]


def _rows(program: Any) -> Iterator[_Row]:
    # Each row of the line table covers the addresses up to the next row of its sequence.
    before: Any = None
    for entry in program.get_entries() if program is not None else ():
        state = entry.state
        if state is None:
            continue
        if before is not None and before.address < state.address and before.line:
            yield before.address, state.address, _file(program.header, before.file), before.line
        before = None if state.end_sequence else state


def _file(header: Any, number: int) -> str:
    # Version 5 counts files and folders from 0, and folder 0 is the compiler's; before version 5, 0 means
    # none.
    if header.version >= 5:
        if number >= len(header.file_entry):
            return "?"
        entry = header.file_entry[number]
        folder = header.include_directory[entry.dir_index] if entry.dir_index else b""
    else:
        if not 1 <= number <= len(header.file_entry):
            return "?"
        entry = header.file_entry[number - 1]
        folder = header.include_directory[entry.dir_index - 1] if entry.dir_index else b""
    return _text(folder) + "/" * bool(folder) + _text(entry.name)


def _text(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def _is_same(path: str, wanted: str) -> bool:
    # The path itself, or its last parts.
    parts, last = PurePosixPath(path).parts, PurePosixPath(wanted).parts
    return bool(last) and parts[-len(last) :] == last
