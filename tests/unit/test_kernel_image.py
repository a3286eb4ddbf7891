"""load_kernel: which files it uses, what it finds, what it refuses; on made-up kernels and real ones."""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_kernel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_kernel import BANNER, BASE_VA, DATA_AT, IMAGE_SIZE, SYMBOLS, kernel_btf, system_map
from programs import run_emu, run_program

from emu.errors import EmuError, InvalidCase, InvalidSubject, Untestable
from emu.subject.bootcode import task_setup
from emu.subject.kernel import KernelLayout, is_kernel, load_kernel
from emu.subject.recover import BootFunctions
from emu.subject.symbols import Symbols

_BTF = kernel_btf().blob()
_LAYOUT = KernelLayout(
    task_size=4736,
    task_stack=32,
    task_cpu=16,
    thread_size=0x4000,
    secondary_data_size=16,
    secondary_data_task=0,
    secondary_data_status=8,
    source="BTF",
)
_OF_5_10 = b"Linux version 5.10.250 (me@here) (gcc) #1 SMP\n\0"
_FROM_CODE = dataclasses.replace(_LAYOUT, task_size=3072, source="code")
_WITH_BTF = SYMBOLS | {"__stop_BTF": SYMBOLS["__start_BTF"] + len(_BTF)}
_PYTHON = sys.executable
_REAL = ["EMU_KERNEL_612", "EMU_KERNEL_61", "EMU_KERNEL_16K", "EMU_KERNEL_SMALL"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    # Symbols of real kernels may come from the cache.
    if "real_kernel" not in request.fixturenames:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """Return a folder like /boot: vmlinuz-1 (with BTF) and its System.map-1."""
    folder = tmp_path / "boot"
    folder.mkdir()
    (folder / "vmlinuz-1").write_bytes(make_kernel.image(_BTF))
    (folder / "System.map-1").write_bytes(system_map(_WITH_BTF))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a build tree: Image, vmlinux and System.map, without BTF."""
    folder = tmp_path / "linux"
    (folder / "arch/arm64/boot").mkdir(parents=True)
    (folder / "arch/arm64/boot/Image").write_bytes(make_kernel.image())
    (folder / "vmlinux").write_bytes(make_kernel.elf(make_kernel.image()))
    (folder / "System.map").write_bytes(system_map())
    return folder


def test_an_image_with_its_system_map_beside_it_is_loaded(boot: Path) -> None:
    found = load_kernel(boot / "vmlinuz-1")
    assert (found.version, found.page_size, found.flags) == ("6.12.0-test", 4096, 0xA)
    assert found.banner == "Linux version 6.12.0-test (me@here) (gcc) #1 SMP"
    assert (found.text_offset, found.image_size, found.entry_pa) == (0, IMAGE_SIZE, 0x4020_0000)
    assert found.layout == _LAYOUT
    (segment,) = found.subject.segments
    assert (segment.pa, segment.data, segment.size) == (0x4020_0000, make_kernel.image(_BTF), IMAGE_SIZE)
    assert found.subject.va_offset == BASE_VA - 0x4020_0000
    assert found.subject.pa("__secondary_switched") == 0x4020_1000


def test_text_offset_is_added_to_the_load_base(boot: Path) -> None:
    (boot / "vmlinuz-1").write_bytes(make_kernel.image(_BTF, text_offset=0x8_0000))
    moved = {name: va + 0x8_0000 for name, va in _WITH_BTF.items()}
    (boot / "System.map-1").write_bytes(system_map(moved))
    found = load_kernel(boot / "vmlinuz-1", load_base=0x8000_0000)
    assert found.entry_pa == found.subject.segments[0].pa == found.subject.pa("_text") == 0x8008_0000


def test_identity_is_that_of_the_bytes_however_they_are_wrapped(boot: Path, tree: Path) -> None:
    (boot / "vmlinuz-2").write_bytes(gzip.compress(make_kernel.image()))
    (boot / "System.map-2").write_bytes(system_map())
    raw = load_kernel(tree).subject
    assert load_kernel(boot / "vmlinuz-2").subject.identity == raw.identity
    assert load_kernel(tree / "vmlinux").subject.identity == raw.identity
    assert load_kernel(boot / "vmlinuz-1").subject.identity != raw.identity


def test_bytes_after_image_size_are_left_out(boot: Path) -> None:
    """A signature may follow the image."""
    signed = make_kernel.image(_BTF).ljust(IMAGE_SIZE, b"\0") + b"a signature"
    (boot / "vmlinuz-1").write_bytes(signed)
    assert len(load_kernel(boot / "vmlinuz-1").subject.segments[0].data) == IMAGE_SIZE


@pytest.mark.parametrize("inside", ["", "vmlinux", "arch/arm64/boot/Image"])
def test_a_build_tree_is_the_same_by_any_of_its_paths(tree: Path, inside: str) -> None:
    found = load_kernel(tree / inside)
    assert found.layout == _FROM_CODE
    assert found.subject.va("init_task") == BASE_VA + 0x7000
    assert found.subject.symbols.address("filler_001") is not None  # only System.map has it


def test_a_build_tree_without_system_map_uses_vmlinux(tree: Path) -> None:
    (tree / "System.map").unlink()
    found = load_kernel(tree)
    assert found.layout == _FROM_CODE
    assert dict(found.subject.symbols).keys() >= SYMBOLS.keys()


def test_a_build_tree_without_image_uses_vmlinux(tree: Path) -> None:
    (tree / "arch/arm64/boot/Image").unlink()
    assert load_kernel(tree).subject.segments[0].data == make_kernel.image()


def test_given_files_win_over_those_found(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.map"
    other.write_bytes(system_map(SYMBOLS | {"mine": BASE_VA + 0x40}))
    assert load_kernel(tree, system_map=other).subject.va("mine") == BASE_VA + 0x40
    image, vmlinux = tmp_path / "Image", tmp_path / "vmlinux.mine"
    image.write_bytes(make_kernel.image())
    vmlinux.write_bytes(make_kernel.elf(make_kernel.image(), SYMBOLS | {"mine": BASE_VA + 0x44}))
    for path in (image, tree):
        assert load_kernel(path, vmlinux=vmlinux).subject.va("mine") == BASE_VA + 0x44


def test_btf_is_found_without_symbols_for_it_and_in_a_section(boot: Path, tmp_path: Path) -> None:
    (boot / "System.map-1").write_bytes(system_map(SYMBOLS, without=["__start_BTF"]))
    assert load_kernel(boot / "vmlinuz-1").layout == _LAYOUT
    vmlinux = tmp_path / "vmlinux"
    symbols = {name: va for name, va in SYMBOLS.items() if name != "__start_BTF"}
    vmlinux.write_bytes(make_kernel.elf(make_kernel.image(), symbols, sections={".BTF": _BTF}))
    assert load_kernel(vmlinux).layout == _LAYOUT


@pytest.mark.parametrize(
    ("start", "end"), [("__start_init_stack", "__end_init_stack"), ("__start_init_task", "__end_init_task")]
)
def test_thread_size_is_that_of_the_first_stack_else_that_of_the_code(
    boot: Path, start: str, end: str
) -> None:
    """Linux 6.10 renamed the symbols; include/asm-generic/vmlinux.lds.h."""
    bounds = {start: BASE_VA + 0x1000, end: BASE_VA + 0x3000}
    (boot / "System.map-1").write_bytes(system_map(_WITH_BTF | bounds))
    assert load_kernel(boot / "vmlinuz-1").layout.thread_size == 0x2000
    (boot / "System.map-1").write_bytes(system_map(_WITH_BTF))
    assert load_kernel(boot / "vmlinuz-1").layout.thread_size == 0x4000


def test_what_kallsyms_lacks_is_recovered_from_the_code(boot: Path) -> None:
    """CONFIG_KALLSYMS_ALL=n: functions from _stext on, no data."""
    functions = {"_stext": BASE_VA + 0x1000, "__secondary_switched": BASE_VA + 0x1000}
    (boot / "System.map-1").write_bytes(system_map(functions))
    found = load_kernel(boot / "vmlinuz-1")
    assert found.layout == _LAYOUT
    assert found.subject.va("_text") == BASE_VA
    assert found.subject.va("secondary_data") == BASE_VA + DATA_AT + 0x10
    assert found.subject.va("__per_cpu_offset") == BASE_VA + 0x5020
    assert found.subject.va("__early_cpu_boot_status") == BASE_VA + 0x6800


def test_code_before_init_cpu_task_shows_the_field_of_secondary_data() -> None:
    """Linux 5.10 has { stack, task, status }: the task is at 8, and the stack comes from there too."""
    code = (0x90000000, 0xF9400001, 0x9100003F, 0xF9400402, 0xD5184102, 0xD4210000)
    found = task_setup(struct.pack(f"<{len(code)}I", *code), BASE_VA)
    assert (found.task_from, found.task_field, found.loaded) == (BASE_VA, 8, True)
    assert (found.task_stack, found.task_cpu, found.thread_size) == (None, None, None)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_any_code_can_be_decoded(code: bytes, va: int) -> None:
    found = task_setup(struct.pack("<I", 0xD5184102) + code, va)
    assert found.task_field == 0


def test_is_kernel_tells_kernels_from_other_files(boot: Path, tree: Path, tmp_path: Path) -> None:
    (boot / "Image.gz").write_bytes(gzip.compress(make_kernel.image()))
    (boot / "vmlinuz.efi").write_bytes(b"MZ\0\0zimg" + bytes(100))
    (boot / "program").write_bytes(make_kernel.elf(b"\xd5\x03\x20\x1f" * 64))
    (boot / "x86").write_bytes(make_kernel.elf(make_kernel.image(), machine=62))
    (boot / "object").write_bytes(make_kernel.elf(make_kernel.image(), kind=1))
    (boot / "empty").write_bytes(b"")
    os.mkfifo(boot / "fifo")
    (boot / "big-endian").write_bytes(b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\xb7" + bytes(100))
    kernels = [boot / "vmlinuz-1", boot / "Image.gz", boot / "vmlinuz.efi", tree, tree / "vmlinux"]
    kernels.append(boot / "big-endian")  # that it is none which runs here the loader says
    others = [
        boot / name
        for name in ("program", "x86", "object", "empty", "fifo", "System.map-1", "missing", "a\0")
    ]
    assert [is_kernel(path) for path in kernels] == [True] * len(kernels)
    assert [is_kernel(path) for path in [*others, boot]] == [False] * (len(others) + 1)


def test_a_big_endian_vmlinux_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\xb7" + bytes(100))
    _refused(InvalidSubject, r"byte order 2: big-endian: must be 64-bit little-endian", path)


def _refused(kind: type[EmuError], rule: str, path: Path, **arguments: Any) -> None:
    with pytest.raises(kind, match=rule) as refused:
        load_kernel(path, **arguments)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_kernel_are_refused(boot: Path) -> None:
    _refused(InvalidSubject, r"missing: No such file or directory", boot / "missing")
    _refused(InvalidSubject, r"boot: neither vmlinux nor arch/arm64/boot/Image in it", boot)
    _refused(InvalidSubject, r"System\.map-1: b'.*' at offset 56: an arm64 Image has", boot / "System.map-1")
    (boot / "empty").write_bytes(b"")
    _refused(InvalidSubject, r"empty: 0 bytes: an arm64 Image has a header of 64", boot / "empty")
    (boot / "Image.gz").write_bytes(gzip.compress(make_kernel.image())[:-9])
    _refused(
        InvalidSubject, r"Image\.gz: gzip: no end in \d+ bytes: the file is truncated", boot / "Image.gz"
    )
    (boot / "vmlinuz-1").write_bytes(make_kernel.image(banner=b"no version"))
    _refused(
        InvalidSubject, r"no 'Linux version' banner in 16384 bytes: not a Linux kernel", boot / "vmlinuz-1"
    )
    (boot / "vmlinuz-1").write_bytes(make_kernel.elf(b"\xd5\x03\x20\x1f" * 64))
    _refused(InvalidSubject, r"at offset 56: an arm64 Image has", boot / "vmlinuz-1")
    (boot / "vmlinuz-1").write_bytes(make_kernel.image()[:0x80])
    rule = (
        r"no 'Linux version' banner in 128 bytes, of \d+ of its image_size: truncated, or not a Linux kernel"
    )
    _refused(InvalidSubject, rule, boot / "vmlinuz-1")


@pytest.mark.parametrize("command", ["boot", "info"])
def test_an_elf_file_that_is_no_kernel_is_told_why(command: str, tmp_path: Path) -> None:
    """Of the host's machine, cut off, or an AArch64 program."""
    path, whole = tmp_path / "vmlinux", make_kernel.elf(b"\xd5\x03\x20\x1f" * 64)
    for data, rule in (
        (whole[:18] + b"\x3e" + whole[19:], "ELF machine 62: must be AArch64 (183)"),
        (whole[:100], "program headers end at"),
        (whole, "at offset 56: an arm64 Image has"),
    ):
        path.write_bytes(data)
        done = run_emu(command, path)
        assert (done.returncode, rule in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_truncated_image_is_refused_by_edata(boot: Path) -> None:
    (boot / "System.map-1").write_bytes(system_map(_WITH_BTF | {"_edata": BASE_VA + 0x4001}))
    _refused(
        InvalidSubject, r"vmlinuz-1: 0x4000 bytes: _edata is at 0x4001; it is truncated", boot / "vmlinuz-1"
    )


def test_symbols_of_another_kernel_are_refused(boot: Path) -> None:
    kernel, table = boot / "vmlinuz-1", boot / "System.map-1"
    table.write_bytes(system_map(_WITH_BTF | {"_end": BASE_VA + 0x9000}))
    _refused(
        InvalidSubject,
        r"System\.map-1: _end - _text = 0x9000: .*image_size 0x8000; another build; give",
        kernel,
    )
    table.write_bytes(system_map(_WITH_BTF | {"linux_banner": BASE_VA + 0x200}))
    _refused(
        InvalidSubject, r"System\.map-1: linux_banner=0xffff800080000200: .*no banner there; another", kernel
    )
    table.write_bytes(system_map({"linux_banner": BASE_VA + 0x100}))
    _refused(
        Untestable, r"System\.map-1: no symbol _text or _stext: not the symbols of a Linux kernel", kernel
    )


def test_a_stub_map_is_passed_over_when_found_and_refused_when_given(boot: Path) -> None:
    kernel, table = boot / "vmlinuz-1", boot / "System.map-1"
    table.write_bytes(b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n")
    _refused(Untestable, r"vmlinuz-1: no usable System\.map, and no kallsyms_token_table in its", kernel)
    _refused(InvalidSubject, r"System\.map-1:1: b'ffffffffffffffff B The real", kernel, system_map=table)
    _refused(InvalidSubject, r"none: No such file", kernel, system_map=boot / "none")
    _refused(InvalidSubject, r"none: No such file", kernel, vmlinux=boot / "none")


def test_a_load_base_off_2_mib_is_refused(boot: Path) -> None:
    _refused(
        InvalidCase,
        r"load_base=0x40001000: must be .* 2 MiB aligned",
        boot / "vmlinuz-1",
        load_base=0x4000_1000,
    )


def test_no_layout_is_untestable(tree: Path) -> None:
    (tree / "arch/arm64/boot/Image").write_bytes(make_kernel.image(code=[0xD4210000]))
    _refused(
        Untestable, r"Image: THREAD_SIZE: neither __start_init_stack nor __primary_switched shows it", tree
    )
    stack = {"__start_init_stack": BASE_VA, "__end_init_stack": BASE_VA + 0x4000}
    (tree / "System.map").write_bytes(system_map(SYMBOLS | stack))
    _refused(Untestable, r"no BTF, and __primary_switched does not show struct task_struct; build with", tree)


def test_a_kernel_whose_boot_data_has_a_stack_is_refused_with_the_oldest_that_boots(boot: Path) -> None:
    """Linux 5.10."""
    code = [0xB0000020, 0x91004000, 0xF9400001, 0x9100003F, 0xF9400402, 0xD5184102, 0xD4210000]
    said = r"vmlinuz-1: .* has a stack before the task, as before Linux 5\.14"
    for banner, age in (
        (BANNER, ""),
        (_OF_5_10, "; this is Linux 5.10.250, and 5.14 is the oldest that boots"),
    ):
        (boot / "vmlinuz-1").write_bytes(make_kernel.image(_BTF, code=code, banner=banner))
        _refused(Untestable, said + re.escape(age), boot / "vmlinuz-1")
        for command in ("boot", "info"):
            done = run_emu(command, str(boot / "vmlinuz-1"))
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)
            assert done.stderr.endswith(f"as before Linux 5.14{age}\n")


@pytest.mark.parametrize("release", ["3.7", "4.4.302-cip97", "4.19.325", "5.13.19"])
def test_whatever_an_older_kernel_lacks_the_oldest_that_boots_is_named(boot: Path, release: str) -> None:
    """Its boot code is other code, and kallsyms and BTF have other forms, or are not there."""
    banner = f"Linux version {release} (me@here) (gcc) #1 SMP\n\0".encode()
    said = re.escape(f"; this is Linux {release}, and 5.14 is the oldest that boots")
    (boot / "vmlinuz-1").write_bytes(make_kernel.image(code=[0xD4210000], banner=banner))
    _refused(Untestable, r"vmlinuz-1: THREAD_SIZE: .*" + said, boot / "vmlinuz-1")
    (boot / "System.map-1").unlink()
    _refused(EmuError, r"vmlinuz-1: .*" + said, boot / "vmlinuz-1")
    assert run_emu("boot", str(boot / "vmlinuz-1")).stderr.count("\n") == 1


@pytest.mark.parametrize("release", ["5.14.0", "6.12.117", "10.0", "next-20260101", "99999999999999.1"])
def test_of_no_other_kernel_the_age_is_told(boot: Path, release: str) -> None:
    banner = f"Linux version {release} (me@here) (gcc) #1 SMP\n\0".encode()
    (boot / "vmlinuz-1").write_bytes(make_kernel.image(code=[0xD4210000], banner=banner))
    _refused(Untestable, r"vmlinuz-1: THREAD_SIZE: [^;]*$", boot / "vmlinuz-1")


def test_broken_btf_is_refused(boot: Path) -> None:
    (boot / "vmlinuz-1").write_bytes(make_kernel.image(b"\x9f\xeb\x01\x00" + bytes(20)))
    _refused(InvalidSubject, r"vmlinuz-1: BTF: header of 0 bytes", boot / "vmlinuz-1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.booleans(), st.lists(st.tuples(st.integers(0, 2**15), st.binary(min_size=1, max_size=9)), max_size=5)
)
def test_a_damaged_kernel_is_loaded_or_gives_one_typed_error(
    boot: Path, as_elf: bool, edits: list[tuple[int, bytes]]
) -> None:
    data = make_kernel.image(_BTF)
    data = bytearray(make_kernel.elf(data, _WITH_BTF) if as_elf else data)
    for place, junk in edits:
        place %= len(data)
        data[place : place + len(junk)] = junk
    path = boot / ("damaged" if as_elf else "vmlinuz-1")
    path.write_bytes(data)
    is_kernel(path)
    make_kernel.refusal(lambda: load_kernel(path))


@pytest.mark.parametrize("variable", _REAL)
def test_btf_and_boot_code_of_a_real_kernel_agree(variable: str, real_kernel: Callable[[str], Path]) -> None:
    found = load_kernel(real_kernel(variable))
    symbols, image = found.subject.symbols, found.subject.segments[0].data
    setup = BootFunctions(image, symbols.require("_text", ""), symbols).setup("__secondary_switched")
    layout = found.layout
    assert layout.source == ("code" if variable == "EMU_KERNEL_SMALL" else "BTF")
    assert (setup.task_stack, setup.task_cpu) == (layout.task_stack, layout.task_cpu)
    assert (setup.thread_size, setup.task_field) == (layout.thread_size, layout.secondary_data_task)
    assert found.page_size == (16384 if variable == "EMU_KERNEL_16K" else 4096)
    assert found.banner.startswith(f"Linux version {found.version} ")
    assert layout.secondary_data_status == layout.secondary_data_task + 8


@pytest.mark.parametrize("variable", ["EMU_KERNEL_612", "EMU_KERNEL_16K", "EMU_KERNEL_SMALL"])
def test_recovered_symbols_of_a_real_kernel_are_where_its_table_has_them(
    variable: str, real_kernel: Callable[[str], Path]
) -> None:
    subject = load_kernel(real_kernel(variable)).subject
    kept = [(name, va) for name, va in subject.symbols if va >= subject.va("_stext")]
    functions = {"_text", "_stext", "__secondary_switched", "__primary_switched", "secondary_startup"}
    functions |= {"cpu_logical_map", "set_cpu_boot_mode_flag"}
    only = Symbols.of({name: va for name, va in kept if name in functions})
    found = BootFunctions(subject.segments[0].data, subject.va("_text"), only).recovered()
    names = ["secondary_data", "init_task", "__per_cpu_offset", "__cpu_logical_map", "__boot_cpu_mode"]
    names += ["swapper_pg_dir", "idmap_pg_dir", "__early_cpu_boot_status"]
    assert {name: found.get(name) for name in names} == {
        name: subject.symbols.address(name) for name in names
    }


def test_a_kernel_whose_kallsyms_has_functions_only_gets_its_boot_data(
    real_kernel: Callable[[str], Path],
) -> None:
    subject = load_kernel(real_kernel("EMU_KERNEL_61")).subject
    for name in (
        "_text",
        "secondary_data",
        "init_task",
        "__per_cpu_offset",
        "__cpu_logical_map",
        "idmap_pg_dir",
    ):
        pa = subject.pa(name)
        assert subject.segments[0].pa <= pa < subject.segments[0].pa + subject.segments[0].size


def test_nothing_but_the_standard_library_is_imported_for_a_raw_image() -> None:
    """Start-up time: capstone, pyelftools and zstandard each cost more than the load."""
    names = ("capstone", "elftools", "zstandard")
    code = f"import sys, emu.subject.kernel; print([name for name in {names} if name in sys.modules])"
    done = run_program(_PYTHON, "-c", code)
    assert done.stdout == "[]\n"
