"""A counterexample is the smallest whatever a compare loses: all that are smaller are asked, up to 3 CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, NEXT, contract_toml
from test_smallest import smaller_ones
from zoo import search

CONTRACT = contract_toml(
    range(6), nr_cpus="{ default = 2, sweep = [1, 2, 3] }", lookup='instructions_max = "20 * NR_CPUS + 60"'
)
# What is done to both sides of the compare; all that lose nothing are right.
LOSES = {
    "reversed": "rev {0}, {0}",
    "rotated": "extr {0}, {0}, {0}, #24",
    "one bit": "extr {0}, xzr, {0}, #1",
    "the upper half reversed": "rev {1}, {1}",
    "folded": "eor {0}, {0}, {0}, lsr #16\nand {0}, {0}, #0xffffff",
    "a polynomial": "crc32x {1}, wzr, {0}",
    "a field of 7 bits": "ubfx x4, {0}, #32, #7\nbfi {0}, x4, #32, #8",
    "a multiple": "add {0}, {0}, {0}, lsl #40",
    "shifted out": "lsl {0}, {0}, #25",
}
RIGHT = {"reversed", "rotated", "a multiple"}


@pytest.mark.parametrize("shape", LOSES)
def test_no_smaller_question_shows_what_a_compare_loses(tmp_path: Path, shape: str) -> None:
    """And of what loses nothing there is no finding."""
    both = [f"{LOSES[shape].format(f'x{number}', f'w{number}')}\n" for number in (0, 3)]
    source = tmp_path / "user.S"
    scan = f"ldr x1, =__cpu_logical_map\nmov x19, #0\n1: ldr x3, [x1, x19, lsl #3]\n{both[1]}{NEXT}"
    source.write_text(HWID + both[0] + scan)
    source.with_suffix(".toml").write_text(CONTRACT)
    *_, done = search(source, 500)
    assert bool(done.findings) == (shape not in RIGHT)
    for found in done.findings:
        assert smaller_ones(done.under_test, found) == [], found.question
