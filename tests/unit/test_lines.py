"""Source lines of instructions: of assembly text, and of a vmlinux."""

from __future__ import annotations

import gc
import pickle
import shutil
import warnings
from pathlib import Path

import pytest
from programs import run_program

from emu.arch.boot import IMAGE_PA, VA_OFFSET
from emu.designs import DESIGNS
from emu.subject.dwarf import DwarfLines
from emu.subject.fragment import asm_dir, load_source
from emu.subject.lines import Lines

GNU = "aarch64-linux-gnu-"
needs_gnu = pytest.mark.skipif(
    shutil.which(GNU + "as") is None, reason=f"{GNU}as is not installed (Debian: binutils-aarch64-linux-gnu)"
)

TEXT = """\
        .macro  twice, register
        add     \\register, \\register, #1
        add     \\register, \\register, #2
        .endm
start:
        mov     x0, #0          // line 6
        twice   x0
#include "more.inc"
        ret
table:  .quad   start
"""


def test_each_instruction_of_a_design_has_the_line_that_it_is_written_in() -> None:
    """What the line says is what the instruction is, as far as a mnemonic goes."""
    subject = DESIGNS["v3"].load(8)
    checked = 0
    for pa in range(IMAGE_PA, IMAGE_PA + 0x300, 4):
        found = subject.lines.at(pa)
        if found is None:
            continue
        text = (asm_dir().parent / found[0]).read_text().splitlines()[found[1] - 1]
        assert text.startswith("        ") or ":" in text, (hex(pa), found, text)
        checked += 1
    assert checked > 150
    assert subject.lines.at(subject.pa("secondary_entry")) == ("asm/boot/secondary_entry.S", 15)
    assert subject.lines.at(subject.pa("cpu_boot_data")) is None


def test_a_macro_has_the_line_of_its_call_and_an_include_its_own(tmp_path: Path) -> None:
    (tmp_path / "more.inc").write_text("        nop\n        nop\n")
    path = tmp_path / "mine.S"
    path.write_text(TEXT)
    lines = load_source(path, nr_cpus=1).lines
    name = str(path)
    found = [lines.at(IMAGE_PA + 4 * index) for index in range(6)]
    more = str(tmp_path / "more.inc")
    assert found == [(name, 6), (name, 7), (name, 7), (more, 1), (more, 2), (name, 9)]
    assert lines.at(IMAGE_PA + 24) is None, "data has no line"


def test_a_line_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "more.inc").write_text("        nop\n")
    path = tmp_path / "mine.S"
    path.write_text(TEXT)
    lines = load_source(path, nr_cpus=1).lines
    assert lines.find("mine.S", 7) == lines.find(str(path), 7) == IMAGE_PA + 4, "the first instruction of it"
    assert lines.find("more.inc", 1) == IMAGE_PA + 12
    assert lines.find("mine.S", 1) is None
    assert lines.find("other.S", 7) is None


def test_lines_are_made_when_they_are_asked_for() -> None:
    asked = []

    def places() -> dict[int, tuple[str, int]]:
        asked.append(1)
        return {0x1000: ("a.S", 1)}

    lines = Lines(places)
    assert not asked
    assert lines.at(0x1000) == ("a.S", 1)
    assert lines.find("a.S", 1) == 0x1000
    assert lines
    assert asked == [1]


def test_a_subject_with_lines_goes_to_another_process() -> None:
    subject = pickle.loads(pickle.dumps(DESIGNS["v2"].load(2).lines))
    assert subject.at(IMAGE_PA) is not None


@pytest.fixture(params=["-gdwarf-4", "-gdwarf-5"])
def vmlinux(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two units of assembly with line tables, linked where a kernel is."""
    (tmp_path / "head.S").write_text(
        "        .globl _start\n_start:\n        nop\n        bl other\n        ret\n"
    )
    (tmp_path / "other.S").write_text("        .globl other\nother:\n\n        mov x0, #1\n        ret\n")
    for name in ("head", "other"):
        command = [GNU + "as", request.param, "-o", f"{name}.o", f"{name}.S"]
        run_program(*command, cwd=tmp_path)
    link = [GNU + "ld", "-Ttext", f"{IMAGE_PA + VA_OFFSET:#x}", "-o", "vmlinux", "head.o", "other.o"]
    run_program(*link, cwd=tmp_path)
    return tmp_path / "vmlinux"


@needs_gnu
def test_lines_of_a_vmlinux_come_from_its_line_tables(vmlinux: Path) -> None:
    lines = DwarfLines(vmlinux, VA_OFFSET)
    at = [lines.at(IMAGE_PA + 4 * index) for index in range(5)]
    assert [found and (Path(found[0]).name, found[1]) for found in at] == [
        ("head.S", 3),
        ("head.S", 4),
        ("head.S", 5),
        ("other.S", 4),
        ("other.S", 5),
    ]
    assert lines.at(IMAGE_PA + 0x100000) is None
    assert lines.at(0) is None
    assert lines.find("head.S", 4) == IMAGE_PA + 4
    assert lines.find("other.S", 5) == IMAGE_PA + 16
    assert lines.find("head.S", 400) is None
    assert lines.find("nowhere.S", 4) is None
    assert lines


def test_the_file_of_a_vmlinux_is_closed_when_it_is_read(vmlinux: Path) -> None:
    """A file that the garbage collector closes warns wherever that happens: capstone's import broke of it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        lines = DwarfLines(vmlinux, VA_OFFSET)
        assert lines
        del lines
        gc.collect()
    assert not [each for each in told if issubclass(each.category, ResourceWarning)]


def test_a_vmlinux_without_line_tables_has_no_lines(tmp_path: Path) -> None:
    for data in (b"", b"\x7fELF", bytes(4096)):
        path = tmp_path / "vmlinux"
        path.write_bytes(data)
        lines = DwarfLines(path, VA_OFFSET)
        assert not lines
        assert lines.at(IMAGE_PA) is None
        assert lines.find("head.S", 1) is None
    assert not DwarfLines(tmp_path / "gone", VA_OFFSET)


@needs_gnu
def test_damaged_line_tables_are_none(vmlinux: Path) -> None:
    """Whatever byte is wrong, a question has an answer."""
    good = vmlinux.read_bytes()
    starts = [good.find(b".debug_line"), 64, len(good) // 2, len(good) - 600]
    for start in starts:
        for at in range(start, start + 240, 7):
            damaged = bytearray(good)
            damaged[at] ^= 0xFF
            vmlinux.write_bytes(damaged)
            lines = DwarfLines(vmlinux, VA_OFFSET)
            lines.at(IMAGE_PA)
            lines.find("head.S", 4)
