"""The symbol file and the script for gdb."""

from __future__ import annotations

from pathlib import Path

from emu.debug.gdb.symbols import script, symbol_file
from emu.designs import DESIGNS
from emu.subject import Segment, Subject
from emu.subject.elf import Elf
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
