"""Our assembler against GNU as and ld: the same bytes at the same place, the same symbols."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from assembly_texts import TEXTS
from programs import run_program

from emu.arch import boot
from emu.designs import DESIGNS, Design
from emu.subject import Subject
from emu.subject.assembly_text import flatten
from emu.subject.fragment import constants, constants_include, design_lines, load_source

PREFIX = "aarch64-linux-gnu-"
NR_CPUS = (1, 2, 8, 255, 256, 4095, 4096)

pytestmark = pytest.mark.skipif(
    any(shutil.which(PREFIX + tool) is None for tool in ("as", "ld", "objcopy", "nm")),
    reason=f"{PREFIX}as is not installed (Debian: binutils-aarch64-linux-gnu)",
)


def gnu(text: str, folder: Path) -> tuple[bytes, dict[str, int]]:
    """Return the bytes and the symbols (at VA) of text, from GNU as, linked at IMAGE_PA."""
    source, built, linked, flat = (folder / name for name in ("t.S", "t.o", "t.elf", "t.bin"))
    source.write_text(text)
    for command in (
        ["as", "-o", built, source],
        ["ld", f"-Ttext={boot.IMAGE_PA:#x}", "-e", "0", "-o", linked, built],
        ["objcopy", "-O", "binary", "-j", ".text", linked, flat],
    ):
        run_program(PREFIX + str(command[0]), *command[1:], timeout=60)
    listing = run_program(PREFIX + "nm", linked, timeout=60).stdout
    rows = (line.split() for line in listing.splitlines())
    symbols = {name: int(address, 16) for address, kind, name in rows if kind in "tT"}
    return flat.read_bytes(), {
        name: (address + boot.VA_OFFSET) % 2**64
        for name, address in symbols.items()
        if not name.startswith("$")
    }


def check(subject: Subject, text: str, folder: Path) -> None:
    """Compare a subject with what GNU as and ld make of the text."""
    code, symbols = gnu(text, folder)
    assert subject.segments[0].data == code
    linker_made = {"__bss_start", "_bss_end__", "__bss_start__", "__bss_end__", "__end__", "_edata", "_end"}
    assert dict(subject.symbols) == {name: va for name, va in symbols.items() if name not in linker_made}


@pytest.mark.parametrize("nr_cpus", NR_CPUS)
@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_flat_text_assembles_to_the_bytes_and_symbols_of_gnu_as(
    design: Design, nr_cpus: int, tmp_path: Path
) -> None:
    """What Keystone is given means the same to GNU as."""
    flat = flatten(design_lines(design.fragments), constants(nr_cpus))
    check(design.load(nr_cpus), flat.text, tmp_path)


@pytest.mark.parametrize("nr_cpus", NR_CPUS)
@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_text_as_written_assembles_to_the_bytes_of_gnu_as(
    design: Design, nr_cpus: int, tmp_path: Path
) -> None:
    """Macros, conditionals and constants mean to GNU as what our own expansion makes of them."""
    written = "\n".join(line.text for line in design_lines(design.fragments)) + "\n"
    check(design.load(nr_cpus), constants_include(nr_cpus) + written, tmp_path)


@pytest.mark.parametrize("text", TEXTS)
def test_user_text_assembles_to_the_bytes_and_symbols_of_gnu_as(text: str, tmp_path: Path) -> None:
    """GNU as is the reference for what assembly text means."""
    lines = text.replace(" | ", "\n") + "\n"
    source = tmp_path / "user.S"
    source.write_text(lines)
    check(load_source(source, nr_cpus=8), lines, tmp_path)


def test_absolute_symbol_in_defines_is_an_address_that_code_reaches(tmp_path: Path) -> None:
    """A contract places a table and defines its symbol; `adr` and a literal load must find it there."""
    source = tmp_path / "user.S"
    source.write_text(
        "adr x1, table\nldr x2, table\nadr x3, table + 8\nadrp x4, table\n.quad table\nb table\n"
    )
    table = boot.IMAGE_PA + 0x8000
    subject = load_source(source, nr_cpus=8, defines={"table": table})
    text = f".set table, .text + {table - boot.IMAGE_PA:#x}\n.text\n{source.read_text()}"
    assert subject.segments[0].data == gnu(text, tmp_path)[0]
