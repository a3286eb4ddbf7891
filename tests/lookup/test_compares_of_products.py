"""Multiplicative hashes: a look-up that is wrong for one value of the top bits of a product."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from test_what_is_left_open import HWID, SCAN, TOML, searched

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.compares import compared
from emu.fuzz.products import least_multiple
from emu.lookup.case import Question

MAGIC = 0x5A_00C3_719B
GOLDEN = 0x9E37_79B9_7F4A_7C15
FINDS_0 = "b.ne 3f\nmov x19, #0\nb found\n3:\n"
U64 = 2**64 - 1


def _compared(hashed: str, value: int, register: str = "x") -> str:
    return f"ldr x4, ={GOLDEN:#x}\n{hashed}ldr x5, ={value:#x}\ncmp {register}4, {register}5\n{FINDS_0}"


WHOLE = MAGIC * GOLDEN & U64
LOW = MAGIC & 0xFF_FFFF
SHAPES = {
    "top-40": _compared("mul x4, x0, x4\nlsr x4, x4, #24\n", WHOLE >> 24),
    "top-32": _compared("mul x4, x0, x4\nlsr x4, x4, #32\n", WHOLE >> 32),
    "middle": _compared("mul x4, x0, x4\nubfx x4, x4, #16, #32\n", WHOLE >> 16 & 0xFFFF_FFFF),
    "upper-half": _compared("umulh x4, x0, x4\n", MAGIC * GOLDEN >> 64),
    "key-added": _compared("mov x5, #77\nmadd x4, x0, x4, x5\nlsr x4, x4, #30\n", (WHOLE + 77 & U64) >> 30),
    "of-32-bits": _compared(
        "and w3, w0, #0xffffff\nmul w4, w3, w4\nlsr w4, w4, #8\n", (LOW * GOLDEN & 0xFFFF_FFFF) >> 8, "w"
    ),
    "without-aff0": _compared(
        "lsr x3, x0, #8\nmul x4, x3, x4\nlsr x4, x4, #32\n", ((MAGIC >> 8) * GOLDEN & U64) >> 32
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_of_a_product_are_solved_for(tmp_path: Path, shape: str) -> None:
    """By hwids of which a search at random meets one in 2^24 or fewer."""
    source = tmp_path / "user.S"
    source.write_text(HWID + SHAPES[shape] + SCAN)
    source.with_suffix(".toml").write_text(TOML)
    lookup = UnderTest(str(source)).at(2)
    solved = compared(lookup).mpidrs
    assert solved
    for mpidr in solved:
        answer = lookup.single.ask(Question((None, None), mpidr))
        assert (answer.exit, answer.index) == ("found", 0)
    if shape == "top-40":
        assert MAGIC in {mpidr & MPIDR_HWID_BITMASK for mpidr in solved}


def test_the_search_tells_one_with_that_product(tmp_path: Path) -> None:
    """Twin: a value that no product of a hwid has."""
    (found, *_) = searched(tmp_path, HWID + SHAPES["top-40"] + SCAN).findings
    assert found.question.mpidr & MPIDR_HWID_BITMASK == MAGIC
    other = (0x5A_0100_0000 * GOLDEN & U64) >> 24  # bit 24 is in no hwid
    text = _compared("mul x4, x0, x4\nlsr x4, x4, #24\n", other)
    source = tmp_path / "user.S"
    source.write_text(HWID + text + SCAN)
    assert compared(UnderTest(str(source)).at(2)).mpidrs == ()


def test_the_least_multiple_in_an_interval_is_that_of_a_count() -> None:
    rng = Random(1)
    for _ in range(3000):
        modulus = rng.randrange(2, 150)
        factor, first = rng.randrange(modulus), rng.randrange(modulus)
        last = rng.randrange(first, modulus)
        counted = (n for n in range(modulus) if first <= factor * n % modulus <= last)
        assert least_multiple(factor, modulus, first, last) == next(counted, None)
