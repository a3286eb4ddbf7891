"""What breaks a look-up may be a relation of two values: the smallest question has the least of both.

One of two registers that have to agree is as usual; one of two hwids that have a sum or a difference is 0.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, contract_toml
from test_what_is_left_open import SCAN, TOML

from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.shrink import shrink
from emu.lookup.case import Question
from emu.lookup.starts import STARTS

X7, X9 = STARTS[0].registers[7], STARTS[0].registers[9]
REGISTERS = {  # a compare, and the value of each alone for which it holds
    "equal": ("cmp x7, x9\n", X9, X7),
    "apart": ("sub x4, x7, x9\nldr x5, =0x12345678\ncmp x4, x5\n", X9 + 0x12345678, X7 - 0x12345678),
    "mixed": ("eor x4, x7, x9\nldr x5, =0x12345678\ncmp x4, x5\n", X9 ^ 0x12345678, X7 ^ 0x12345678),
}
MAGIC = 0xAB_00CD_EF12
HWIDS = {
    "mixed": "eor x4, x4, x5",
    "added": "add x4, x4, x5",
    "apart": "sub x4, x5, x4",
}


def lookup(folder: Path, between: str, contract: str) -> UnderTest:
    source = folder / "user.S"
    source.write_text(HWID + between + SCAN)
    source.with_suffix(".toml").write_text(contract)
    return UnderTest(str(source))


def the_smallest(under_test: UnderTest, nr_cpus: int, question: Question, begin: dict[str, int]) -> Checked:
    checked = under_test.at(nr_cpus).check_from(question, tuple(begin.items()))
    assert checked.wrong is not None
    return shrink(under_test, checked)


@pytest.mark.parametrize("name", REGISTERS)
def test_one_of_two_registers_that_have_to_agree_is_as_usual(tmp_path: Path, name: str) -> None:
    """Of the two ways the one with fewer bits set, then the lower; smaller ones of one register are right."""
    compare, x7, x9 = REGISTERS[name]
    smallest = min((("x7", x7), ("x9", x9)), key=lambda each: (each[1].bit_count(), each[1]))
    under_test = lookup(tmp_path, f"{compare}b.eq missing\n", TOML)
    given = {"x7": x7 - X9 + 5 if name != "mixed" else 5 ^ x7 ^ X9, "x9": 5}
    found = the_smallest(under_test, 2, Question((0, None), 1 << 31), given)
    assert found.begin == (smallest,)
    built, value = under_test.at(found.nr_cpus), smallest[1]
    for register in ("x7", "x9"):
        for less in (0, 1, *(value & ~(1 << bit) for bit in range(64) if value >> bit & 1)):
            assert built.check_from(found.question, ((register, less),)).wrong is None


@pytest.mark.parametrize("name", HWIDS)
def test_one_of_two_hwids_that_are_compared_together_is_0(tmp_path: Path, name: str) -> None:
    """Of five places: no step that clears a bit leads there. Also where a third one asks."""
    compare = f"ldr x4, =__cpu_logical_map\nldr x5, [x4, #32]\nldr x4, [x4]\n{HWIDS[name]}\n"
    contract = contract_toml(range(6), nr_cpus="5")
    under_test = lookup(tmp_path, f"{compare}ldr x5, ={MAGIC:#x}\ncmp x4, x5\nb.eq missing\n", contract)
    one = 0x03_0000_0002
    two = {"mixed": MAGIC ^ one, "added": MAGIC - one, "apart": MAGIC + one}[name]
    for map_, asks in (((one, None, None, None, two), two), ((one, None, 0, None, two), 0)):
        found = the_smallest(under_test, 5, Question(map_, 1 << 31 | asks), {})
        assert found.question == Question((0, None, None, None, MAGIC), 1 << 31)
