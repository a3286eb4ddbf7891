"""Where a condition of the text changes with NR_CPUS, the code is another one: it is tried on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, contract_toml
from test_what_is_left_open import SCAN
from zoo import search

from emu.fuzz.built_lookup import UnderTest
from emu.lookup.conditions import sizes_of_conditions

CONTRACT = contract_toml(
    range(6), nr_cpus="{ default = 2, sweep = [1, 2, 4096] }", lookup='instructions_max = "20 * NR_CPUS + 60"'
)
# A condition, what ends it, what is before it, and the least NR_CPUS for which it holds.
PLANTED = {
    "equal": (".if NR_CPUS == 77", ".endif", "", 77),
    "by-difference": (".ifeq NR_CPUS - 77", ".endif", "", 77),
    "of-a-product": (".if NR_CPUS*2 == 154 // twice", ".endif", "", 77),
    "by-another-name": ("#if LIMIT == 77", "#endif", "#define LIMIT (NR_CPUS + 0)\n", 77),
    "by-a-symbol": (".if limit > 700 && limit < 800", ".endif", ".equ limit, NR_CPUS\n", 701),
    "by-an-assignment": (".if limit > 700", ".endif", "limit = NR_CPUS - 1\n", 702),
    "of-a-remainder": (".if NR_CPUS % 4 == 2 && NR_CPUS > 100", ".endif", "", 102),
    "of-bits": ("#if (NR_CPUS & 0x1c0) == 0x140", "#endif", "", 320),
    "negated": ("#if !(NR_CPUS < 300)", "#endif", "", 300),
    "of-another-branch": (".if NR_CPUS < 500\n.elseif NR_CPUS / 600 == 1", ".endif", "", 600),
}


@pytest.mark.parametrize("name", PLANTED)
def test_code_of_few_nr_cpus_is_found(tmp_path: Path, name: str) -> None:
    """Planted: entry 0 is passed over there. The counterexample has the least of these NR_CPUS."""
    condition, end, before, least = PLANTED[name]
    scan = SCAN.replace("mov     x19, #0\n", f"mov x19, #0\n{condition}\nmov x19, #1\n{end}\n")
    source = tmp_path / "user.S"
    source.write_text(before + HWID + scan)
    source.with_suffix(".toml").write_text(CONTRACT)
    for done in search(source, 0):
        if done.findings:
            break
    assert [found.nr_cpus for found in done.findings] == [least]


def test_both_sides_of_each_change_are_tried() -> None:
    """The first changes and the last; of what does not depend on NR_CPUS none."""
    assert sizes_of_conditions(".if NR_CPUS > 512\n.if 1 == 1\n#if FEATURE > 3\n") == [512, 513]
    assert sizes_of_conditions(".if NR_CPUS % 2\n") == [1, 2, 3, 4094, 4095, 4096]


@pytest.mark.parametrize(
    "line",
    [
        ".if \\count > NR_CPUS",
        ".if NR_CPUS / 0 > 1",
        ".if NR_CPUS << 99",
        ".if NR_CPUS +",
        "a = a + NR_CPUS\n.if a > 3",
        "#if defined(NR_CPUS) && __has_include(NR_CPUS)",
        ".if NR_CPUS > " + "(" * 150,
        ".if NR_CPUS * 0xffffffffffffffffff > 1",
        ".ifdef NR_CPUS",
    ],
)
def test_what_cannot_be_evaluated_says_nothing(line: str) -> None:
    assert sizes_of_conditions(f"{line}\n") == []


def test_a_contract_of_one_nr_cpus_goes_through_that(tmp_path: Path) -> None:
    source = tmp_path / "user.S"
    source.write_text(HWID + SCAN + ".if NR_CPUS > 512\n.endif\n")
    source.with_suffix(".toml").write_text(contract_toml(range(6)))
    assert UnderTest(str(source)).sizes == [2]
