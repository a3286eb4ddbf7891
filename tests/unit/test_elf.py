"""vmlinux: what is read of an ELF, checked against pyelftools, and what is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from make_kernel import BASE_VA, SYMBOLS, elf, image, refusal

from emu.errors import InvalidSubject
from emu.subject.elf import Elf, first_bytes_of

_FUNCTION, _OBJECT, _NOTYPE, _SECTION, _FILE = 2, 1, 0, 3, 4
_GLOBAL = 0x10
_ABSOLUTE = 0xFFF1


@pytest.fixture
def vmlinux() -> bytes:
    return elf(image())


def test_the_image_is_what_objcopy_makes(vmlinux: bytes) -> None:
    assert Elf(vmlinux, "vmlinux").image() == (BASE_VA, image())


def test_first_bytes_are_found_from_the_head_alone(vmlinux: bytes) -> None:
    assert first_bytes_of(vmlinux[:200]) == 120
    assert vmlinux[120:184] == image()[:64]
    assert first_bytes_of(vmlinux[:100]) is None
    assert first_bytes_of(image()) is None


def test_gaps_between_segments_are_zero() -> None:
    data = bytearray(elf(b"AAAA"))
    second = struct.pack("<IIQQQQQQ", 1, 7, 120, BASE_VA + 8, BASE_VA + 8, 4, 4, 0x1000)
    data[32:40] = struct.pack("<Q", len(data))  # move the program headers to the end and add one
    data[56:58] = struct.pack("<H", 2)
    assert Elf(bytes(data) + bytes(data[64:120]) + second, "v").image() == (BASE_VA, b"AAAA\0\0\0\0AAAA")


def test_symbols_are_functions_objects_and_labels_only() -> None:
    extra = [
        ("local_function", BASE_VA + 4, _FUNCTION, 1),
        ("object", BASE_VA + 8, _GLOBAL | _OBJECT, 1),
        ("label", BASE_VA + 12, _GLOBAL | _NOTYPE, 1),
        ("absolute", BASE_VA + 16, _GLOBAL | _NOTYPE, _ABSOLUTE),
        ("$x", BASE_VA, _NOTYPE, 1),
        ("$d.7", BASE_VA, _NOTYPE, 1),
        ("__pi_$x", BASE_VA, _NOTYPE, 1),
        (".Lhere", BASE_VA, _NOTYPE, 1),
        ("__crc_kfree", BASE_VA, _GLOBAL, 1),
        ("section", BASE_VA, _SECTION, 1),
        ("file.c", 0, _FILE, _ABSOLUTE),
        ("undefined", 0, _GLOBAL, 0),
        ("_kernel_flags_le_lo32", 10, _GLOBAL, _ABSOLUTE),
        ("", BASE_VA, _GLOBAL, 1),
    ]
    found = {name: (va, letter) for name, va, _, letter in Elf(elf(image(), {}, extra), "v").symbols()}
    assert found == {
        "local_function": (BASE_VA + 4, "t"),
        "object": (BASE_VA + 8, "T"),
        "label": (BASE_VA + 12, "T"),
        "absolute": (BASE_VA + 16, "A"),
    }


def test_system_map_is_sorted_by_address(vmlinux: bytes) -> None:
    lines = Elf(vmlinux, "v").system_map().decode().splitlines()
    assert lines == [f"{va:016x} T {name}" for va, name in sorted((va, name) for name, va in SYMBOLS.items())]


def test_sections_come_by_name() -> None:
    found = Elf(elf(image(), sections={".BTF": b"123"}), "v")
    assert (found.section(".BTF"), found.section(".debug_info")) == (b"123", None)


def _patched(at: int, form: str, value: int) -> bytes:
    data = bytearray(elf(image()))
    struct.pack_into(form, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "b'' in 0 bytes: not an ELF file"),
        (b"\x7fELF" + bytes(59), "in 63 bytes: not an ELF file"),
        (_patched(4, "B", 1), r"class 1, byte order 1: must be 64-bit little-endian \(2, 1\)"),
        (_patched(5, "B", 2), r"class 2, byte order 2: big-endian: must be 64-bit little-endian \(2, 1\)"),
        (elf(image(), machine=62), r"ELF machine 62: must be AArch64 \(183\)"),
        (elf(image(), kind=1), r"ELF type 1: must be EXEC \(2\) or DYN \(3\)"),
        (_patched(54, "<H", 55), "ELF entry sizes 55, 64: must be 56, 64"),
        (_patched(32, "<Q", 2**63), "program headers end at 0x8000000000000038: the file has"),
        (elf(image())[:-1], "section headers end at"),
    ],
)
def test_a_file_that_is_no_arm64_elf_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=rf"^some/vmlinux: .*{rule}"):
        Elf(data, "some/vmlinux")


@pytest.mark.parametrize(
    ("at", "value", "rule"),
    [
        (64 + 32, 2**40, "PT_LOADs span 0x10000000000 bytes"),
        (64 + 8, 2**40, "PT_LOAD end at"),
        (64 + 32, 0, "no PT_LOAD segment with bytes"),
    ],
)
def test_an_image_outside_its_file_is_refused(at: int, value: int, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=rule):
        Elf(_patched(at, "<Q", value), "v").image()


def test_an_x86_program_is_refused() -> None:
    program = Path("/bin/ls")
    if not program.is_file() or program.read_bytes()[18:20] != b"\x3e\x00":
        pytest.skip("no x86-64 /bin/ls here; run on x86-64 Linux")
    with pytest.raises(InvalidSubject, match=r"^/bin/ls: ELF machine 62: must be AArch64"):
        Elf(program.read_bytes(), "/bin/ls")


@given(st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
def test_a_damaged_elf_is_read_or_gives_one_typed_error(edits: list[tuple[int, bytes]]) -> None:
    data = bytearray(elf(image()[:256], sections={".BTF": b"123"}))
    for place, junk in edits:
        place %= len(data)
        data[place : place + len(junk)] = junk
    uses = (Elf.image, Elf.system_map, lambda found: found.section(".BTF"))
    for use in uses:
        refused = refusal(lambda use=use: use(Elf(bytes(data), "v")), InvalidSubject)
        assert refused is None or refused.startswith("v: ")


def test_a_real_vmlinux_has_the_symbols_and_bytes_that_pyelftools_and_objcopy_give(
    real_kernel: Callable[[str], Path],
) -> None:
    tree = real_kernel("EMU_KERNEL_SMALL")
    data = (tree / "vmlinux").read_bytes()
    found = Elf(data, "vmlinux")
    assert found.image()[1] == (tree / "arch/arm64/boot/Image").read_bytes()
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    theirs = {
        (symbol.name, symbol["st_value"], symbol["st_size"])
        for symbol in table.iter_symbols()
        if symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
    }
    ours = {(name, va, size) for name, va, size, _ in found.symbols()}
    assert theirs <= ours
    listed = set((tree / "System.map").read_text().splitlines())
    named = {
        (line.split()[2], int(line.split()[0], 16)) for line in listed if not line.startswith("00000000")
    }
    assert {(name, va) for name, va, _ in ours} == named
