"""The symbol file and the script for gdb."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from nested_lookup import write_nested

from emu.debug.gdb.symbols import script, symbol_file
from emu.debug.unwind import Unwinding
from emu.designs import DESIGNS
from emu.subject import Segment, Subject
from emu.subject.elf import Elf
from emu.subject.fragment import load_source
from emu.subject.symbols import Symbols

_TEXT = b"""ffff800080000000 T _text
ffff800080000040 t local
ffff800080001000 D data
ffff800080001008 d more
ffff800080002000 T later
ffff800080002000 t alias
ffff800080003000 B bss
0000000000000a00 A absolute
"""


def of(text: bytes) -> Subject:
    rows = Symbols.parse(text, "test")
    return Subject("test", "0", (Segment(0x4020_0000, b"", 0),), rows, 0xFFFF_8000_3FE0_0000)


def test_every_symbol_is_there_at_its_va_with_its_kind() -> None:
    elf = Elf(symbol_file(of(_TEXT)), "symbols")
    found = {name: (va, letter) for name, va, _, letter in elf.symbols()}
    assert found["_text"] == (0xFFFF_8000_8000_0000, "T")
    assert found["local"] == (0xFFFF_8000_8000_0040, "t")
    assert found["alias"] == (0xFFFF_8000_8000_2000, "t")
    assert found["absolute"][0] == 0xA00
    assert set(found) == {"_text", "local", "data", "more", "later", "alias", "bss", "absolute"}


def test_sections_cover_the_symbols_do_not_overlap_and_hold_no_bytes() -> None:
    elf = Elf(symbol_file(of(_TEXT)), "symbols")
    parts = [section for section in elf.sections if section.va]
    assert [section.name for section in parts] == [".text", ".data", ".text.1", ".data.1"]
    assert all(section.kind == 8 for section in parts), "SHT_NOBITS: gdb reads the machine"
    ends = [section.va + section.size for section in parts]
    assert all(end <= after.va for end, after in zip(ends, parts[1:], strict=False))
    assert ends[0] == 0xFFFF_8000_8000_1000


def test_symbols_of_a_design_and_of_nothing() -> None:
    subject = DESIGNS["v3"].load(8)
    found = {name: va for name, va, _, _ in Elf(symbol_file(subject), "v3").symbols()}
    assert found == dict(subject.symbols)
    assert Elf(symbol_file(of(b"")), "none").sections


def test_the_script_loads_the_symbols_at_both_addresses() -> None:
    subject = of(_TEXT)
    text = script(subject, Path('/a "b"/s.elf'), "127.0.0.1:1234")
    assert 'file "/a \\"b\\"/s.elf"' in text
    offset = int(text.partition("-o ")[2].split()[0], 0)
    assert (subject.va("later") + offset) % 2**64 == subject.pa("later")
    assert text.endswith("target remote 127.0.0.1:1234\n")
    assert "target remote" not in script(subject, Path("s.elf"), "")


def test_the_section_says_what_the_code_says_as_another_reader_reads_it(tmp_path: Path) -> None:
    """pyelftools on .debug_frame, against the rows; an outermost function has nothing but that."""
    for subject in (DESIGNS["v3"].load(2), load_source(write_nested(tmp_path), nr_cpus=2)):
        dwarf = ELFFile(io.BytesIO(symbol_file(subject))).get_dwarf_info()
        cie, *entries = dwarf.CFI_entries()
        assert cie["return_address_register"] == 30
        unwinding, told, inside = Unwinding(subject), set(), False
        for entry in entries:
            table = entry.get_decoded().table
            for pc in range(entry["initial_location"], entry["initial_location"] + entry["address_range"], 4):
                pa = pc - subject.va_offset & 2**64 - 1
                told.add(pa)
                for at, row in ((pc, unwinding.rows[pa]), (pc + 3, unwinding.row(pa + 4, called=True))):
                    if row is None:
                        continue
                    found = [line for line in table if line["pc"] <= at][-1]
                    assert read(found, 30) == row.where(30)
                    if row.where(30)[0] == "undefined":
                        continue
                    inside = True
                    assert (found["cfa"].reg, found["cfa"].offset) == row.base
                    assert [read(found, number) for number in range(30)] == [row.where(n) for n in range(30)]
        assert told == unwinding.rows.keys()
        assert inside


def read(line: dict[str | int, Any], register: int) -> tuple[str, int]:
    """What a decoded line says of a register, as a row does."""
    rule = line.get(register)
    kind = "same" if rule is None else _KINDS[rule.type]
    return kind, rule.arg if rule is not None and kind in ("slot", "register") else 0


_KINDS = {"UNDEFINED": "undefined", "SAME_VALUE": "same", "OFFSET": "slot", "REGISTER": "register"}
