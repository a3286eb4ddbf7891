"""Words of instructions that Keystone lacks are GNU as's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emu.arch.boot import IMAGE_PA
from emu.errors import AssemblyError
from emu.subject.fragment import load_source
from emu.subject.later_instructions import later_word
from emu.subject.toolchain import assemble_elsewhere

ORDERS = ("", "a", "l", "al")
UPDATES = ("add", "clr", "eor", "set", "smax", "smin", "umax", "umin")


def lines() -> list[str]:
    """Every mnemonic in every order and size, with registers that differ."""
    found = []
    for size, kind in (("b", "w"), ("h", "w"), ("", "w"), ("", "x")):
        for order in ORDERS:
            found += [f"{name}{order}{size} {kind}1, {kind}2, [x3]" for name in ("swp", "cas")]
            found += [f"ld{name}{order}{size} {kind}30, {kind}zr, [sp]" for name in UPDATES]
        for order in ("", "l"):
            found += [f"st{name}{order}{size} {kind}7, [x29]" for name in UPDATES]
        found += [f"{name}{size} {kind}4, [x5]" for name in ("ldapr", "ldlar", "stllr")]
        found += [
            f"{name}{size} {kind}4, [x5, #{at}]" for name in ("ldapur", "stlur") for at in (-256, 0, 255)
        ]
    for kind in "wx":
        found += [f"casp{order} {kind}2, {kind}3, {kind}8, {kind}9, [x4]" for order in ORDERS]
    return found


def test_every_word_is_that_of_gnu_as(tmp_path: Path) -> None:
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("aarch64-linux-gnu-gcc is not installed")
    path = tmp_path / "t.S"
    path.write_text("\n".join(lines()) + "\n")
    refused = AssemblyError("t.S:1: nop: for this test")
    gnu = (
        assemble_elsewhere(path, refused, by="keystone", constants={}, symbols={}, include_dirs=())
        .segments[0]
        .data
    )
    words = [int.from_bytes(gnu[at : at + 4], "little") for at in range(0, len(gnu), 4)]
    assert [later_word(line) for line in lines()] == words[: len(lines())]


@pytest.mark.parametrize(
    "text",
    [
        "swp w1, x2, [x3]",
        "swpb x1, x2, [x3]",
        "swp w1, [x3]",
        "swp w1, w2, [x3, #8]",
        "casp x1, x2, x4, x5, [x6]",
        "ldadd w1, w32, [x3]",
        "ldapur w1, [x2, #256]",
        "stadda w1, [x2]",
        "ldr x1, [x2]",
        "swp w1, w2, [w3]",
    ],
)
def test_what_is_none_of_them_is_left_to_the_assembler(text: str) -> None:
    assert later_word(text) is None


def test_text_with_them_needs_no_other_assembler(tmp_path: Path) -> None:
    path = tmp_path / "t.S"
    path.write_text("first: SWPAL X1, X2, [X3]\nlast: adrp x0, first\nldapr w0, [x1]\nret\n")
    subject = load_source(path, nr_cpus=1)
    assert subject.assembler == "keystone"
    assert subject.segments[0].data[:4] == (0xF8E1_8062).to_bytes(4, "little")
    assert subject.lines.at(IMAGE_PA) is not None
