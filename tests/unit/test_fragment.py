"""Fragments as subjects: addresses, initial data, errors with a line, and the cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emu.arch import boot
from emu.arch.mpidr import INVALID_HWID
from emu.designs import DESIGNS, Design
from emu.errors import AssemblyError, InvalidCase, InvalidSubject
from emu.subject import Subject, assembler, fragment, keystone_parent, toolchain
from emu.subject.fragment import constants, load_design, load_source

GRANULE_MAX = 2048  # CTR_EL0.CWG: the largest cache writeback granule

every_design = pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(assembler, "_kept", {})
    # What Keystone refuses is an error here: test_toolchain.py has the others.
    monkeypatch.setattr(toolchain, "find_tools", lambda: ([], ["another assembler"]))


def source(folder: Path, text: str) -> Path:
    path = folder / "user.S"
    path.write_text(text)
    return path


def u64s(subject: Subject, symbol: str, count: int) -> list[int]:
    segment = subject.segments[0]
    at = subject.pa(symbol) - segment.pa
    return [int.from_bytes(segment.data[at + 8 * i : at + 8 * i + 8], "little") for i in range(count)]


@every_design
@pytest.mark.parametrize("nr_cpus", [1, 4096])
def test_adr_reaches_everything_from_everywhere(design: Design, nr_cpus: int) -> None:
    """ADR spans 1 MiB either way (Arm DDI 0487, C6.2.10)."""
    (segment,) = design.load(nr_cpus).segments
    assert segment.pa == boot.IMAGE_PA
    assert segment.size == len(segment.data) < 1 << 20


@every_design
def test_mmu_off_words_have_a_writeback_granule_of_their_own(design: Design) -> None:
    """Linux v6.12 head.S, update_early_cpu_boot_status: stored, then its line is invalidated."""
    subject = design.load(5)
    places = sorted(va for _, va in subject.symbols)
    for symbol in ("__early_cpu_boot_status", "secondary_holding_pen_release"):
        va = subject.va(symbol)
        assert va % GRANULE_MAX == 0
        following = places[places.index(va) + 1]
        assert following % GRANULE_MAX == 0, f"{subject.symbols.describe(following)} shares a granule"


@every_design
@pytest.mark.parametrize("table", ["vectors", "__hyp_stub_vectors"])
def test_vector_table_has_sixteen_entries_on_2_kib(design: Design, table: str) -> None:
    """Arm DDI 0487, VBAR_EL1: bits 10:0 are RES0; an entry is 0x80 bytes."""
    subject = design.load(8)
    start = subject.va(table)
    entries = [va for _, va in subject.symbols if start <= va < start + 0x800 and va != start]
    assert start % 0x800 == 0
    assert {start, *entries} >= {start + 0x80 * entry for entry in range(16)}


@every_design
@pytest.mark.parametrize("nr_cpus", [1, 3, 4096])
def test_tables_start_as_the_kernel_links_them(design: Design, nr_cpus: int) -> None:
    """__cpu_logical_map is all INVALID_HWID, the rfc's table is BSS, nobody is released from the pen."""
    subject = design.load(nr_cpus)
    assert u64s(subject, "__cpu_logical_map", nr_cpus) == [INVALID_HWID] * nr_cpus
    assert u64s(subject, "__mpidr_to_cpuid_table", nr_cpus) == [0] * nr_cpus
    assert u64s(subject, "__per_cpu_offset", nr_cpus) == [0] * nr_cpus
    assert u64s(subject, "cpu_boot_data", 2 * nr_cpus) == [0, 0] * nr_cpus
    assert u64s(subject, "secondary_holding_pen_release", 1) == [INVALID_HWID]
    assert u64s(subject, "vabits_actual", 1) == [48]
    assert u64s(subject, "__boot_cpu_mode", 1) == [boot.BOOT_CPU_MODE_EL1 << 32 | boot.BOOT_CPU_MODE_EL2]


@every_design
def test_slots_do_not_overlap_at_any_index(design: Design) -> None:
    """cpu_boot_data has NR_CPUS elements of 1 << SECONDARY_DATA_SHIFT bytes, on a cache line."""
    subject = design.load(4096)
    end = subject.va("cpu_boot_data") + (4096 << boot.SECONDARY_DATA_SHIFT)
    assert subject.va("cpu_boot_data") % 64 == 0
    assert end <= min(va for _, va in subject.symbols if va > subject.va("cpu_boot_data"))


@every_design
def test_page_tables_are_page_aligned(design: Design) -> None:
    """TTBRn_EL1.BADDR: a 4 KiB table on a 4 KiB boundary."""
    subject = design.load(8)
    assert subject.pa("swapper_pg_dir") % 0x1000 == 0
    assert subject.pa("idmap_pg_dir") == subject.pa("swapper_pg_dir") + 0x1000


def test_symbols_are_virtual_addresses_of_the_image_mapping() -> None:
    """VA = PA + VA_OFFSET; assembler-local labels are not symbols."""
    subject = DESIGNS["v3"].load(8)
    assert subject.pa("secondary_holding_pen") == boot.IMAGE_PA
    assert subject.va("secondary_holding_pen") == boot.KIMAGE_VADDR
    assert not [name for name, _ in subject.symbols if name.startswith(".L")]


def test_identity_names_the_bytes() -> None:
    """Equal bytes have one identity, whatever they are called."""
    design = DESIGNS["v2"]
    assert design.load(8).identity == design.load(8).identity != design.load(9).identity
    assert load_design(design.fragments, name="x", nr_cpus=8).identity == design.load(8).identity


def test_defines_are_the_constants_of_the_assembly() -> None:
    """NR_CPUS and the boot ABI can be read back from the subject."""
    defines = DESIGNS["rfc"].load(17).defines
    assert defines["NR_CPUS"] == 17
    assert defines["SECONDARY_DATA_SHIFT"] == boot.SECONDARY_DATA_SHIFT


@pytest.mark.parametrize("nr_cpus", [0, -1, 4097])
def test_nr_cpus_out_of_range_is_refused(nr_cpus: int, tmp_path: Path) -> None:
    """Kconfig: NR_CPUS is 1..4096 on arm64."""
    with pytest.raises(InvalidCase, match=rf"^nr_cpus={nr_cpus}: NR_CPUS is 1\.\.4096"):
        DESIGNS["v3"].load(nr_cpus)
    with pytest.raises(InvalidCase, match=rf"^nr_cpus={nr_cpus}: "):
        load_source(source(tmp_path, "nop\n"), nr_cpus=nr_cpus)


@pytest.mark.parametrize("fragment", ["boot/nothing", "../pyproject", "boot", "", "/etc/passwd"])
def test_unknown_fragment_is_refused(fragment: str) -> None:
    """Only files below asm/ are fragments."""
    with pytest.raises(InvalidCase, match="^fragment="):
        load_design([fragment], name="x", nr_cpus=8)


def test_define_wider_than_64_bits_is_refused() -> None:
    """A constant that cannot be in a register is a mistake."""
    with pytest.raises(InvalidCase, match=r"^defines\[TOO_WIDE\]=0x1"):
        constants(8, {"TOO_WIDE": 1 << 64})


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("nop\nbogus x1\nnop\n", 2, "bogus x1: Invalid mnemonic"),
        ("nop\n\n/* two\nlines */ nop\nmov x1, x2, x3\n", 5, "Invalid operand"),
        ("nop\nb nowhere\nnop\n", 2, "symbol nowhere is not defined"),
        ("adrp x0, nowhere\n", 1, "nowhere is not defined"),
        ("nop\nadd x0, x0, :lo12:nowhere\n", 2, "nowhere is not defined"),
        ("a: nop\nnop\na: nop\n", 3, "label a is also at .*user.S:1"),
        ("nop\ncmp x19, #5000\n", 2, "cmp x19, #0x1388"),
        ("nop\ndc cvap, x0\n", 2, "Keystone does not know this"),
        ("nop\n.word 1,\n", 2, "an operand is missing"),
        ("nop\n.section .rodata\n", 2, "one flat section"),
        ("nop\n.org 0x100\n", 2, "one flat section"),
        ("nop\n.inst 0xd503201f\n", 2, "not supported"),
        ("nop\n.if 1\nnop\n", 2, "no .endif"),
        ("nop\n.endif\n", 2, "no .if before it"),
        ("nop\n.macro m\nnop\n", 2, "no .endm"),
        (".macro m\nnop\nfrob x1\n.endm\nnop\nm\n", 3, r"frob x1: .*\(macro called at .*user.S:6\)"),
        (".macro m a\nnop\n.endm\nm 1, 2\n", 4, "macro m takes 1 argument"),
        (".macro m\nm\n.endm\nm\n", 2, "nest deeper"),
        (".if NOPE == 1\nnop\n.endif\n", 1, "NOPE is not a constant"),
        (".rept 99999999\nnop\n.endr\n", 2, "more than"),
        ("nop\nb 1b\n", 2, "no label 1: before it"),
        ('nop\n#include "nowhere.inc"\n', 2, "no such file"),
        ("#define A 1\n", 1, "only #include"),
        (".error no\n", 1, "asks for this error"),
        (".equ a, 1 / 0\n", 1, "division by zero"),
        ("", 1, "no instruction"),
        ("// nothing\n", 1, "no instruction"),
    ],
)
def test_error_names_file_line_and_reason(text: str, line: int, reason: str, tmp_path: Path) -> None:
    """Exit status 125: git bisect skips what does not assemble."""
    path = source(tmp_path, text)
    with pytest.raises(AssemblyError, match=rf"user\.S:{line}: .*{reason}") as caught:
        load_source(path, nr_cpus=8)
    assert caught.value.exit_status == 125
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nop\ntbz x0, #1, a\n.zero 0x20000\na: nop\n", 2),
        ("nop\nnop\nadr x0, a\n.zero 0x200000\na: nop\n", 3),
        ("a: nop\n.zero 0x200000\nnop\nldr x0, a\n", 4),
        ("nop\nmovz x0, #:abs_g0:a\na: nop\n", 2),
        ("nop\nnop\n.zero 1 << 40\n", 3),
    ],
)
def test_keystone_that_aborts_is_an_error_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    """Keystone calls abort() for a fixup it cannot make; that ends its process, not ours."""
    with pytest.raises(AssemblyError, match=rf"user\.S:{line}: .*Keystone ended with"):
        load_source(source(tmp_path, text), nr_cpus=8)


def test_keystone_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit guards against the assembler only: no result depends on it."""
    monkeypatch.setattr(keystone_parent, "CHILD_SECONDS_MAX", 0.001)
    with pytest.raises(AssemblyError, match=r"user\.S:1: .*Keystone gave no answer"):
        load_source(source(tmp_path, "nop\n"), nr_cpus=8)


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_an_answer_of_keystone_counts_however_its_process_ends(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came to the end of its work, and to no line in particular."""
    run = subprocess.run

    def ends(*words: Any, **options: Any) -> Any:
        done = run(*words, **{**options, "timeout": 60})
        if how == "crash":
            return subprocess.CompletedProcess(done.args, -6, done.stdout, "")
        raise subprocess.TimeoutExpired(done.args, 2, output=done.stdout.encode())

    monkeypatch.setattr(keystone_parent.subprocess, "run", ends)
    assert load_source(source(tmp_path, "l: nop\n b l\n"), nr_cpus=8).symbols.address("l")
    with pytest.raises(AssemblyError, match=r"user\.S:2: keystone: b nowhere: symbol nowhere is not defined"):
        load_source(source(tmp_path, "nop\n b nowhere\n"), nr_cpus=8)


@pytest.mark.parametrize("junk", ["'", "\x7f", "  ]", "=", "%0"])
def test_a_statement_that_keystone_hangs_on_is_an_error_at_once(
    junk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins with no name, number or string; Keystone is not asked."""
    monkeypatch.setattr(keystone_parent, "CHILD_SECONDS_MAX", 0)
    with pytest.raises(AssemblyError, match=r"user\.S:2: keystone: .*Invalid input token"):
        load_source(source(tmp_path, f"nop\n{junk}\n"), nr_cpus=8)


def test_error_in_an_include_names_the_include(tmp_path: Path) -> None:
    """The line is that of the file it stands in."""
    (tmp_path / "part.inc").write_text("nop\nbogus\n")
    with pytest.raises(AssemblyError, match=r"part\.inc:2: keystone: bogus"):
        load_source(source(tmp_path, 'nop\n#include "part.inc"\n'), nr_cpus=8)


def test_include_is_found_beside_the_file_and_among_ours(tmp_path: Path) -> None:
    """Both spellings; the file's own folder goes first; a file is included once."""
    (tmp_path / "part.inc").write_text("part: nop\n")
    text = (
        '#include "part.inc"\n.include "part.inc"\n#include <macros.inc>\nadr_l x0, part\nmov_q x1, NR_CPUS\n'
    )
    subject = load_source(source(tmp_path, text), nr_cpus=8)
    assert subject.segments[0].size == 12
    assert subject.name == "user.S"


def test_unreadable_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """Bad input ends in one line that names the file."""
    with pytest.raises(InvalidSubject, match=r"nothing\.S: No such file"):
        load_source(tmp_path / "nothing.S", nr_cpus=8)
    with pytest.raises(InvalidSubject, match=r": Is a directory"):
        load_source(tmp_path, nr_cpus=8)
    (tmp_path / "user.S").write_bytes(b"\xff\xfe")
    with pytest.raises(AssemblyError, match=r"user\.S:1: not UTF-8"):
        load_source(tmp_path / "user.S", nr_cpus=8)


def forget(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """As a new process would start."""
    monkeypatch.setattr(assembler, "_kept", {})
    fragment._assembled.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_a_fragment_that_has_changed_is_assembled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process keeps of a design is kept by its text, includes too, and by its constants."""
    shutil.copytree(fragment.asm_dir(), tmp_path / "asm")
    monkeypatch.setattr(fragment, "asm_dir", lambda: tmp_path / "asm")
    before = DESIGNS["v3"].load(8)
    assert DESIGNS["v3"].load(8) is before
    assert DESIGNS["v3"].load(9).identity != before.identity
    for name in ("lookup/v3.S", "include/macros.inc"):
        path = tmp_path / "asm" / name
        text = path.read_text()
        path.write_text(text + "        nop\n")
        assert DESIGNS["v3"].load(8).identity != before.identity, name
        path.write_text(text)
    assert DESIGNS["v3"].load(8).identity == before.identity


def test_second_process_does_not_assemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache on disk serves a cold start; no temporary file stays behind."""
    forget(monkeypatch, tmp_path)
    first = DESIGNS["v3"].load(8)
    assert [path.suffix for path in (tmp_path / "emu" / "asm").iterdir()] == [".json"]
    forget(monkeypatch, tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the assembler was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    again = DESIGNS["v3"].load(8)
    assert again.segments == first.segments
    assert again.symbols.text == first.symbols.text


_WHOLE_BUT = '{"code": "AA==", "labels": {}, "sha256": "0", "lines": %s}'


@pytest.mark.parametrize(
    "damage",
    [
        *("", "{}", "[]", "null", '{"code": "AA==", "labels": {}, "sha256": "0"}', "[" * 100_000),
        *(_WHOLE_BUT % lines for lines in ("[1e999]", "[" + "9" * 5000 + "]")),
    ],
    ids=lambda text: f"{text:.40}",
)
def test_damaged_cache_entry_is_assembled_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache may be wrong only by being slow."""
    forget(monkeypatch, tmp_path)
    path = source(tmp_path, "a: nop\n")
    load_source(path, nr_cpus=8)
    (entry,) = (tmp_path / "emu" / "asm").iterdir()
    entry.write_text(damage)
    forget(monkeypatch, tmp_path)
    assert load_source(path, nr_cpus=8).segments[0].data == bytes.fromhex("1f2003d5")
    assert entry.read_text() != damage


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only home costs time only."""
    (tmp_path / "emu").write_text("a file where the folder should be")
    forget(monkeypatch, tmp_path)
    assert load_source(source(tmp_path, "nop\n"), nr_cpus=8).segments[0].size == 4


def test_text_is_not_mistaken_for_another(tmp_path: Path) -> None:
    """The key covers the constants and the address of every symbol the text uses."""
    text = "adr x0, table\nmov x1, #NR_CPUS\n"
    path = source(tmp_path, text)
    table = boot.IMAGE_PA + 0x1000
    variants = [
        load_source(path, nr_cpus=nr_cpus, defines={"table": table + offset}).segments[0].data
        for nr_cpus in (8, 9)
        for offset in (0, 8)
    ]
    assert len(set(variants)) == 4


def test_a_name_at_the_end_of_the_fragments_is_that_of_the_file(tmp_path: Path) -> None:
    """``boot_data_end`` ends what is before; what begins there is called as the file calls it."""
    path = tmp_path / "t.S"
    includes = '#include "include/early_status_per_cpu.inc"\n#include "data/boot_data.S"\n'
    path.write_text(f"{includes}zz_word: .quad 1\n")
    symbols = load_source(path, nr_cpus=1).symbols
    assert symbols.address("zz_word") == symbols.address("boot_data_end")
    assert symbols.describe(symbols.require("zz_word", "t.S")) == "zz_word"
