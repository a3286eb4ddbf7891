"""A symbol table that is not the image's is refused in one line; its repaired twin is taken."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import make_kallsyms
import make_kernel
import pytest
from make_kallsyms import POINTERS_AT, TEXT_AT, functions
from make_kernel import BASE_VA, refusal

from emu.errors import InvalidSubject
from emu.subject.agreement import check_agreement, check_names, link_address
from emu.subject.image import parse_header
from emu.subject.kernel import load_kernel
from emu.subject.symbols import Symbols

_FUNCTIONS = functions()
_IMAGE = make_kallsyms.image(_FUNCTIONS, None)
_SYMBOLS = {name: BASE_VA + offset for offset, _, name in _FUNCTIONS} | {
    "primary_entry": BASE_VA + TEXT_AT,
    "linux_banner": BASE_VA + 0x100,
}


def _refused(changed: Mapping[str, int], image: bytes = _IMAGE) -> str | None:
    symbols, header = Symbols.of(changed), parse_header(image, "Image")
    base_va = link_address(symbols, header, "map")
    return refusal(lambda: check_agreement(symbols, image, base_va, header, "map", "Image"), InvalidSubject)


def test_the_image_s_own_table_is_taken() -> None:
    assert _refused(_SYMBOLS) is None


@pytest.mark.parametrize("by", [-BASE_VA, 0x1000, 1 << 63])
def test_a_table_that_is_not_of_kernel_vas_is_refused(by: int) -> None:
    """vmlinux-to-elf reads 7.x like the first."""
    moved = {name: (va + by) % 2**64 for name, va in _SYMBOLS.items()}
    assert "must be a kernel VA, 0x0 above a multiple of 2 MiB" in (_refused(moved) or "")


@pytest.mark.parametrize("by", [0x20_0000, 0x1234_0000_0000 & -0x20_0000])
def test_the_addresses_of_a_running_kernel_with_kaslr_are_refused(by: int) -> None:
    moved = {name: va + by for name, va in _SYMBOLS.items()}
    assert "pointers in Image are to no address from there on; another build" in (_refused(moved) or "")


def test_functions_that_lie_elsewhere_are_another_build() -> None:
    """A function in the middle has grown by four bytes."""
    middle = sorted(_SYMBOLS.values())[len(_SYMBOLS) // 2]
    names = ("_end", "linux_banner", "_text")
    grown = {name: va + 4 * (va > middle and name not in names) for name, va in _SYMBOLS.items()}
    assert "calls in the text of Image go to no symbol; another build; give --system-map FILE" in (
        _refused(grown) or ""
    )


def test_an_entry_elsewhere_is_another_build() -> None:
    wrong = _SYMBOLS | {"primary_entry": BASE_VA + TEXT_AT + 0x40}
    assert _refused(wrong) == (
        "map: primary_entry=0xffff800080010040: the header of Image branches to 0xffff800080010000; "
        "another build; give --system-map FILE"
    )


def test_data_that_the_boot_code_does_not_use_is_another_build() -> None:
    code = make_kernel.SECONDARY_SWITCHED
    at = POINTERS_AT - 0x1000
    image = bytearray(_IMAGE)
    image[at : at + 4 * len(code)] = struct.pack(f"<{len(code)}I", *code)
    here = _SYMBOLS | {"__secondary_switched": BASE_VA + at}
    formed = BASE_VA + at + 0x5010
    assert _refused(here | {"secondary_data": formed}, bytes(image)) is None
    assert _refused(here | {"secondary_data": formed + 16}, bytes(image)) == (
        f"map: secondary_data={formed + 16:#x}: the boot code of Image uses {formed:#x}, which is no symbol; "
        "another build; give --system-map FILE"
    )


def test_the_table_of_a_neighbour_of_a_real_kernel_is_refused(
    real_kernel: Callable[[str], Path], tmp_path: Path
) -> None:
    """All after the first thousand symbols is eight bytes further on; what the header tells stays."""
    tree = real_kernel("EMU_KERNEL_SMALL")
    rows = [line.split() for line in (tree / "System.map").read_text().splitlines()]
    kept = {"_end", "_edata", "linux_banner"}
    moved = [
        f"{int(va, 16) + 8 * (number > 1000 and name not in kept):016x} {letter} {name}"
        for number, (va, letter, name) in enumerate(rows)
    ]
    path = tmp_path / "System.map"
    path.write_text("\n".join(moved) + "\n")
    with pytest.raises(InvalidSubject, match=r"System\.map: .*; another build; give --system-map FILE$"):
        load_kernel(tree, system_map=path)


@pytest.mark.parametrize(
    "name",
    ["secondary_entry", "secondary_start_kernel", "__early_cpu_boot_status", "vectors"],
)
def test_one_symbol_elsewhere_than_in_the_kernels_own_table_is_refused(
    real_kernel: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """No branch and no boot code tells of it; the CPU that took it there was told as the kernel's fault."""
    tree = real_kernel("EMU_KERNEL_SMALL")
    text = (tree / "System.map").read_text()
    path = tmp_path / "System.map"
    (va,) = re.findall(rf"^(\w+) \w {name}$", text, re.M)
    path.write_text(re.sub(rf"^\w+( \w {name})$", f"{int(va, 16) + 16:016x}\\1", text, flags=re.M))
    refused = rf"System\.map: {name}=0x\w+: kallsyms in .* have it at 0x{va}; "
    with pytest.raises(InvalidSubject, match=refused):
        load_kernel(tree / "arch/arm64/boot/Image", system_map=path)
    path.write_text(text.replace(f" {name}\n", f" {name}_of_old\n"))
    load_kernel(tree / "arch/arm64/boot/Image", system_map=path)


def test_a_name_may_be_that_of_several_symbols() -> None:
    own = Symbols(b"ffff800080000000 t one\nffff800080000010 T two\nffff800080000020 t one\n")
    theirs = Symbols(b"ffff800080000000 T one\nffff800080000010 T two\nffff800080000018 t one\n")
    check_names(theirs, Symbols(own.text[: own.text.rindex(b"ffff")]), "map", "Image")
    assert refusal(lambda: check_names(theirs, own, "map", "Image"), InvalidSubject) == (
        "map: one=0xffff800080000000: kallsyms in Image have it at 0xffff800080000020; "
        "another build; give --system-map FILE"
    )


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "Image").write_bytes(_IMAGE)
    (tmp_path / "m").write_text(text)
    with pytest.raises(InvalidSubject, match="m: no symbols in it$"):
        load_kernel(tmp_path / "Image", system_map=tmp_path / "m")
