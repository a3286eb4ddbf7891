"""Relocatable objects: layout, symbols, every relocation at its limits, damage, and ld as the reference."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from make_object import (
    ABS,
    ALLOC,
    COMMON,
    NOBITS,
    NOP,
    NOTE,
    WEAK,
    WRITE,
    Name,
    Part,
    Reloc,
    make_object,
)
from programs import run_program

from emu.arch.boot import IMAGE_PA, VA_OFFSET
from emu.errors import EmuError, InvalidSubject, Untestable
from emu.subject import Subject
from emu.subject.object import link, load_object
from emu.subject.relocation import RELOCATIONS, OutOfReach, type_name

GNU = "aarch64-linux-gnu-"
needs_binutils = pytest.mark.skipif(
    any(shutil.which(GNU + tool) is None for tool in ("as", "ld", "objcopy")),
    reason=f"{GNU}as is not installed (Debian: binutils-aarch64-linux-gnu)",
)
needs_gcc = pytest.mark.skipif(
    shutil.which(GNU + "gcc") is None, reason=f"{GNU}gcc is not installed (Debian: gcc-aarch64-linux-gnu)"
)
ABS64, PREL32, ADR, CALL26, JUMP26, ADRP, LO12 = 257, 261, 274, 283, 282, 275, 277


def word(subject: Subject, offset: int, size: int = 4) -> int:
    return int.from_bytes(subject.segments[0].data[offset : offset + size], "little")


# --- layout and symbols


def test_sections_go_code_read_only_data_zeroed_each_aligned() -> None:
    parts = [
        Part(".bss", flags=ALLOC | WRITE, kind=NOBITS, size=100, align=64),
        Part(".data", b"D" * 3, flags=ALLOC | WRITE, align=16),
        Part(".rodata", b"R" * 5, flags=ALLOC, align=32),
        Part(".text", NOP),
        Part(".idmap.text", NOP * 2, flags=7, align=16),
        Part(".comment", b"not loaded", flags=0),
        Part(".note.x", b"not read", flags=ALLOC, kind=NOTE),
        Part(".eh_frame", b"not read", flags=ALLOC),
    ]
    names = [Name(part.name[1:].replace(".", "_"), index) for index, part in enumerate(parts[:5], 1)]
    subject = link(make_object(parts, names), "folder/x.o")
    assert subject.name == "x.o"
    (segment,) = subject.segments
    assert segment.pa == IMAGE_PA
    assert segment.data == (NOP + bytes(12) + NOP * 2).ljust(32, b"\0") + b"R" * 5 + bytes(11) + b"DDD"
    assert segment.size == 64 + 100
    offsets = {"text": 0, "idmap_text": 16, "rodata": 32, "data": 48, "bss": 64}
    assert {name: subject.pa(name) - IMAGE_PA for name, _ in subject.symbols} == offsets
    assert subject.va("data") == (IMAGE_PA + 48 + VA_OFFSET) % 2**64


def test_symbols_are_labels_and_a_global_one_wins() -> None:
    names = [
        Name("$x", 1, binding=0),
        Name(".Llocal", 1, 4, binding=0),
        Name("twice", 1, 4, binding=0),
        Name("file.c", ABS, kind=4, binding=0),
        Name("", 1, kind=3, binding=0),
        Name("number", ABS, 7),
        Name("nowhere"),
        Name("twice", 1, 8),
        Name("with space", 1),
        Name("function", 1, kind=2),
    ]
    subject = link(make_object([Part(".text", NOP * 3)], names), "x.o")
    assert {name: va - subject.va_offset % 2**64 for name, va in subject.symbols} == {
        "function": IMAGE_PA,
        "twice": IMAGE_PA + 8,
    }


def test_common_symbol_gets_zeroed_memory_of_its_alignment() -> None:
    names = [Name("small", COMMON, value=1, size=3), Name("table", COMMON, value=64, size=128)]
    subject = link(make_object([Part(".text", NOP)], names), "x.o")
    assert subject.pa("small") == IMAGE_PA + 4
    assert subject.pa("table") == IMAGE_PA + 64
    assert subject.segments[0].size == 192
    assert len(subject.segments[0].data) == 4


def test_identity_names_the_bytes_and_the_zeroed_size() -> None:
    def identity(size: int) -> str:
        bss = Part(".bss", kind=NOBITS, size=size, flags=ALLOC | WRITE)
        return link(make_object([Part(".text", NOP), bss]), "x.o").identity

    assert identity(8) == identity(8) != identity(16)


# --- relocations


@pytest.mark.parametrize("kind", [kind for kind, r in RELOCATIONS.items() if r.size])
def test_relocation_holds_exactly_its_range(kind: int) -> None:
    """AAELF64: what X must be for each type."""
    relocation = RELOCATIONS[kind]
    low, last = relocation.low, relocation.high - relocation.multiple
    for fits in (low, last, 0):
        relocation.patch(0, fits % 2**64)
    full = (relocation.low, relocation.high) in ((-(2**63), 2**63), (0, 2**64))
    for over in () if full else (low - relocation.multiple, relocation.high):
        with pytest.raises(OutOfReach, match="is not in"):
            relocation.patch(0, over % 2**64)
    if relocation.multiple > 1:
        with pytest.raises(OutOfReach, match="not a multiple"):
            relocation.patch(0, 1)


def test_type_is_named_as_in_the_standard() -> None:
    """Our numbers and names against pyelftools' table."""
    named = {kind: type_name(kind) for kind in RELOCATIONS if kind}
    unknown = [kind for kind, name in named.items() if name != RELOCATIONS[kind].name]
    assert set(unknown) <= {299, 313}  # which that table lacks
    assert {named[kind] for kind in unknown} <= {"relocation type 299", "relocation type 313"}


@pytest.mark.parametrize(("absolute", "offset"), [("va", VA_OFFSET), ("pa", 0)])
def test_caller_chooses_what_an_absolute_address_is(absolute: str, offset: int) -> None:
    data = make_object(
        [Part(".data", bytes(16), flags=ALLOC | WRITE, align=8)],
        [Name("here", 1, 8), Name("number", ABS, 7)],
        [Reloc(1, 0, ABS64, 1, 16), Reloc(1, 8, ABS64, 2, 1)],
    )
    subject = link(data, "x.o", absolute="va" if absolute == "va" else "pa")
    assert word(subject, 0, 8) == (IMAGE_PA + 24 + offset) % 2**64
    assert word(subject, 8, 8) == 8


@pytest.mark.parametrize("offset", [0, VA_OFFSET], ids=["pa", "va"])
def test_define_is_reached_from_the_pa_or_the_va(offset: int) -> None:
    target = (IMAGE_PA + 0x12340 + offset) % 2**64
    code = [0x94000000, 0x90000000, 0x91000000]  # bl; adrp x0; add x0, x0
    data = make_object(
        [Part(".text", struct.pack("<3I", *code))],
        [Name("target")],
        [Reloc(1, 0, CALL26, 1), Reloc(1, 4, ADRP, 1), Reloc(1, 8, LO12, 1)],
    )
    subject = link(data, "x.o", {"target": target})
    assert word(subject, 0) == 0x94000000 | 0x12340 >> 2
    assert word(subject, 4) == 0x90000000 | (0x12 & 3) << 29 | (0x12 >> 2) << 5
    assert word(subject, 8) == 0x91000000 | 0x340 << 10


def test_undefined_weak_symbol_is_zero_or_the_next_instruction() -> None:
    """AAELF64, Weak references."""
    data = make_object(
        [Part(".text", struct.pack("<2IQ", 0x94000000, 0x10000000, 0), align=8)],
        [Name("maybe", binding=WEAK)],
        [Reloc(1, 0, CALL26, 1), Reloc(1, 4, ADR, 1), Reloc(1, 8, ABS64, 1)],
    )
    subject = link(data, "x.o")
    assert (word(subject, 0), word(subject, 4), word(subject, 8, 8)) == (0x94000001, 0x10000000, 0)


def test_got_slot_holds_the_address_once_for_each_symbol() -> None:
    code = struct.pack("<4I", 0x90000000, 0xF9400000, 0x90000001, 0xF9400021)
    data = make_object(
        [Part(".text", code), Part(".bss", kind=NOBITS, size=8, align=8, flags=ALLOC | WRITE)],
        [Name("a", 1, 4), Name("b", 2)],
        [Reloc(1, 0, 311, 2), Reloc(1, 4, 312, 2), Reloc(1, 8, 311, 1), Reloc(1, 12, 313, 2)],
    )
    subject = link(data, "x.o")
    content = subject.segments[0].data
    slots = struct.unpack("<2Q", content[16:])
    assert slots == (subject.va("b"), subject.va("a"))
    assert subject.pa("b") == IMAGE_PA + 32
    assert word(subject, 4) == 0xF9400000 | (16 >> 3) << 10
    assert word(subject, 12) == 0xF9400021 | (16 >> 3) << 10


# --- what is refused


def test_undefined_symbols_are_all_named() -> None:
    names = [Name("zeta"), Name("alpha"), Name("unused")]
    data = make_object([Part(".text", NOP * 2)], names, [Reloc(1, 0, CALL26, 1), Reloc(1, 4, CALL26, 2)])
    with pytest.raises(Untestable, match=r"^x\.o: not defined: alpha, zeta;"):
        link(data, "x.o")


def test_relocation_out_of_reach_says_where_and_what() -> None:
    data = make_object([Part(".text", NOP * 2)], [Name("far")], [Reloc(1, 4, JUMP26, 1)])
    with pytest.raises(Untestable, match=r"^x\.o: \.text\+0x4: R_AARCH64_JUMP26 of far: 0x8000000 is not in"):
        link(data, "x.o", {"far": IMAGE_PA + 4 + (1 << 27)})


@pytest.mark.parametrize(
    ("kind", "name"), [(549, "R_AARCH64_TLSLE_ADD_TPREL_HI12"), (3, "relocation type 3")]
)
def test_unknown_relocation_is_named_with_its_place(kind: int, name: str) -> None:
    data = make_object([Part(".text", NOP * 2)], [Name("a", 1)], [Reloc(1, 4, kind, 1)])
    with pytest.raises(Untestable, match=rf"^x\.o: \.text\+0x4: {name} is not known here"):
        link(data, "x.o")


def edited(at: int, form: str, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", "not an ELF file"),
        (lambda data: data[:63], "not an ELF file"),
        (lambda data: b"BC\xc0\xde" + data[4:], "not an ELF file"),
        (edited(4, "<B", 1), "must be 64-bit little-endian"),
        (edited(5, "<B", 2), "must be 64-bit little-endian"),
        (edited(18, "<H", 62), "ELF machine 62: must be AArch64"),
        (edited(16, "<H", 2), r"ELF type EXEC: linked already; give the object \(\.o\)"),
        (edited(16, "<H", 3), "ELF type DYN: linked already"),
        (edited(16, "<H", 4), "ELF type 4: must be a relocatable"),
        (edited(60, "<H", 0), "0 section headers"),
        (edited(58, "<H", 40), "section headers of 40 bytes"),
        (edited(40, "<Q", 1 << 63), "section headers end at"),
        (edited(62, "<H", 99), "names are in section 99"),
        (lambda data: data[:-1], "section headers end at"),
    ],
)
def test_damaged_header_is_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(InvalidSubject, match=rf"^x\.o: .*{reason}"):
        link(change(make_object([Part(".text", NOP)])), "x.o")


@pytest.mark.parametrize(
    ("parts", "names", "relocs", "reason"),
    [
        ([Part(".text", NOP, align=3)], [], [], "alignment 3"),
        ([Part(".bss", kind=NOBITS, size=1 << 40)], [], [], "must be at most"),
        ([Part(".tdata", NOP, flags=ALLOC | WRITE | 0x400)], [], [], "thread-local"),
        ([Part(".text", NOP)], [Name("a", 1)], [Reloc(1, 1, ABS64, 1)], r"\.text\+0x1: R_AARCH64_ABS64: not"),
        ([Part(".text", NOP)], [Name("a", 1)], [Reloc(1, 0, CALL26, 9)], "symbol 9: there are 2"),
        ([Part(".text", NOP)], [Name("a", 77)], [Reloc(1, 0, CALL26, 1)], "section 77: that is not loaded"),
        ([Part(".text", NOP)], [Name("a" * 5000, 1)], [], "does not end within"),
        ([Part(".bss", kind=NOBITS, size=8)], [Name("a", 1)], [Reloc(1, 0, ABS64, 1)], "not inside"),
    ],
)  # fmt: skip
def test_damaged_table_is_refused(
    parts: list[Part], names: list[Name], relocs: list[Reloc], reason: str
) -> None:
    with pytest.raises(InvalidSubject, match=rf"^x\.o: .*{reason}"):
        link(make_object(parts, names, relocs), "x.o")


def test_object_of_nothing_is_untestable() -> None:
    with pytest.raises(Untestable, match="no instruction and no data"):
        link(make_object([Part(".text")]), "x.o")


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSubject, match="No such file"):
        load_object(tmp_path / "x.o")


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """Return the bytes changed in up to four places; half of them in the headers, which decide most."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) - 640, len(data)) if rng.random() < 0.5 else rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2 | 3:
                size = rng.choice((2, 4, 8))
                value = rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)) % 2 ** (8 * size)
                data[at : at + size] = value.to_bytes(size, "little")
            case _ if rng.random() < 0.1:
                return bytes(data[:at])
    return bytes(data)


def test_mutated_object_loads_or_is_a_typed_error_of_one_line() -> None:
    """6,000 damaged objects; whatever a field says, memory and time stay bounded."""
    rng = random.Random(0xE1F)
    parts = [
        Part(".text", NOP * 40, align=64),
        Part(".data", bytes(range(64)), flags=ALLOC | WRITE, align=8),
        Part(".bss", kind=NOBITS, size=512, flags=ALLOC | WRITE, align=32),
    ]
    names = [
        Name("a", 1),
        Name("b", 2, 8),
        Name("c", 3),
        Name("w", binding=WEAK),
        Name("k", COMMON, 8, size=9),
    ]
    kinds = (ADR, ADRP, LO12, CALL26, JUMP26, PREL32, 269, 273, 280, 311, 312)
    relocs = [Reloc(1, 4 * i, kind, 1 + i % 3) for i, kind in enumerate(kinds)]
    relocs += [Reloc(2, 8 * i, ABS64, 1 + i) for i in range(5)]
    whole = make_object(parts, names, relocs)
    link(whole, "x.o")
    loaded, messages = 0, []
    for _ in range(6000):
        try:
            subject = link(mutated(whole, rng), "x.o")
        except EmuError as error:
            messages.append(str(error))
        else:
            loaded += 1
            assert all(0 <= va < 2**64 for _, va in subject.symbols)
    assert loaded > 500
    assert len(messages) > 500
    assert all(message.startswith("x.o: ") and message.isprintable() for message in messages)


# --- ld as the reference

SCRIPT = """\
SECTIONS {
  . = BASE;
  .text : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data : { *(.data) }
  .bss : { *(.bss) }
  /DISCARD/ : { *(.eh_frame) *(.note.*) *(.comment) }
}
"""


def run(*command: str | Path) -> None:
    run_program(*command, timeout=60)


def linked(built: Path, base: int, *options: str) -> bytes:
    """Return the bytes that ld and objcopy make of an object at an address."""
    script, elf, flat = (built.with_suffix(suffix) for suffix in (".ld", ".elf", ".bin"))
    script.write_text(SCRIPT.replace("BASE", f"{base % 2**64:#x}"))
    run(GNU + "ld", "-e", "0", "--no-warn-mismatch", *options, "-T", script, "-o", elf, built)
    run(GNU + "objcopy", "-O", "binary", elf, flat)
    return flat.read_bytes()


TEXT = """\
        .globl  start, word
start:
        b       far
        bl      start
        cbz     x0, far
        tbnz    w1, #3, far
        b.eq    start
        adr     x0, word + 4
        ldr     x1, word
        adrp    x2, word
        adrp    x3, :pg_hi21_nc:zeroed
        add     x2, x2, :lo12:word
        ldrb    w4, [x2, :lo12:word + 1]
        ldrh    w4, [x2, :lo12:word + 2]
        ldr     w4, [x2, :lo12:word + 4]
        ldr     x4, [x2, :lo12:word]
        ldr     q4, [x2, :lo12:word]
        movz    x5, #:abs_g3:word
        movk    x5, #:abs_g2_nc:word
        movk    x5, #:abs_g1_nc:word
        movk    x5, #:abs_g0_nc:word
        movz    x6, #:prel_g0:far
        movk    x6, #:prel_g0_nc:far
        movz    x6, #:prel_g1:start
        movk    x6, #:prel_g1_nc:start
        movz    x6, #:prel_g2:start
        movk    x6, #:prel_g2_nc:start
        movz    x6, #:prel_g3:start
        movz    x7, #:abs_g2_s:start
        movz    x7, #:abs_g2:small
        movz    x7, #:abs_g1:small
        movz    x7, #:abs_g0:small
        movz    x7, #:abs_g1_s:negative
        movz    x7, #:abs_g0_s:negative
        ldr     x8, =word
        ldr     w9, =small
        .section .text.far, "ax"
        .balign 64
far:    ret
        .section .rodata
        .byte   1
        .balign 4
        .word   start - ., word - . + 8
        .hword  far - .
        .balign 8
        .quad   far - ., zeroed, small + 1, negative
        .word   small
        .hword  small
        .data
        .balign 16
word:   .quad   word, start + 3
        .bss
        .balign 32
        .globl  zeroed
zeroed: .skip   100
"""
DEFINES = {"small": 0x1234, "negative": 2**64 - 0x123}


@needs_binutils
@pytest.mark.parametrize(("absolute", "base"), [("va", IMAGE_PA + VA_OFFSET), ("pa", IMAGE_PA)])
def test_relocations_give_the_bytes_of_ld(absolute: str, base: int, tmp_path: Path) -> None:
    source, built = tmp_path / "t.S", tmp_path / "t.o"
    source.write_text(TEXT)
    run(GNU + "as", "-o", built, source)
    subject = load_object(built, DEFINES, absolute="va" if absolute == "va" else "pa")
    options = [f"--defsym={name}={value:#x}" for name, value in DEFINES.items()]
    assert subject.segments[0].data == linked(built, base, *options)
    assert subject.segments[0].size % 32 == 100 % 32


C_TEXT = """\
typedef unsigned long u64;
struct entry { u64 hwid; void (*arrive)(int); const char *name; };
extern void arrived(int);
void here(int cpu) { arrived(cpu); }
static struct entry table[4] = { { 1, arrived, "one" }, { 2, here, "two" } };
u64 seen[16]; static u64 count; volatile int flag = 3;
int find(u64 hwid) {
    for (int i = 0; i < 4; i++)
        if (table[i].hwid == hwid) { seen[i]++; count++; table[i].arrive(i); return i; }
    switch (hwid) { case 9: return 3; case 10: return flag; case 11: here(2); return 8; case 12: return 77;
                    case 13: arrived(9); return 1; case 14: return (int)count; }
    return -1;
}
"""


@needs_gcc
@needs_binutils
@pytest.mark.parametrize("options", ["-O0", "-O2", "-Os -mcmodel=large", "-O2 -mcmodel=tiny"])
def test_compiled_c_gives_the_bytes_of_ld(options: str, tmp_path: Path) -> None:
    """What a compiler emits without position independence."""
    source, built = tmp_path / "t.c", tmp_path / "t.o"
    source.write_text(C_TEXT)
    flags = ["-ffreestanding", "-fno-pie", "-fno-common", "-fno-stack-protector", "-fno-merge-constants"]
    run(GNU + "gcc", "-c", *options.split(), *flags, "-o", built, source)
    base = IMAGE_PA + VA_OFFSET
    arrived = (base + 0x4_0000) % 2**64
    subject = load_object(built, {"arrived": arrived})
    assert subject.segments[0].data == linked(built, base, f"--defsym=arrived={arrived:#x}")


@needs_gcc
@pytest.mark.parametrize("options", ["-fPIC", "-fpic"])
def test_compiled_position_independent_c_finds_its_data_through_the_got(options: str, tmp_path: Path) -> None:
    """ld relaxes and reserves entries, so the slots themselves are looked at."""
    source, built = tmp_path / "t.c", tmp_path / "t.o"
    source.write_text(C_TEXT.replace("static ", ""))
    run(GNU + "gcc", "-c", "-O2", "-ffreestanding", options, "-o", built, source)
    subject = load_object(built, {"arrived": 0x4030_0000})
    (slot,) = struct.unpack("<Q", subject.segments[0].data[-8:])
    assert slot in {va for _, va in subject.symbols} | {0x4030_0000}


@needs_binutils
def test_linked_program_is_refused(tmp_path: Path) -> None:
    source, built = tmp_path / "t.S", tmp_path / "t.o"
    source.write_text("nop\n")
    run(GNU + "as", "-o", built, source)
    linked(built, IMAGE_PA)
    with pytest.raises(InvalidSubject, match="ELF type EXEC: linked already"):
        load_object(built.with_suffix(".elf"))
