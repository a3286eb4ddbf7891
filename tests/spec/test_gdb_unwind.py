"""gdb-multiarch unwinds the boot path by our .debug_frame: bt, up, finish and reverse-finish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from nested_lookup import write_nested
from test_gdb import Target, serving


def frames(text: str) -> list[str]:
    """The functions of the backtraces in ``text``, innermost first."""
    return re.findall(r"^#\d+ +0x\w+ in (\w+) \(\)", text, re.MULTILINE)


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path, str(write_nested(tmp_path)), "--cpus", "2") as target:
        yield target


def test_functions_that_call_unwind_with_the_mmu_off(nested: Target) -> None:
    """X30 in a register, in a frame record, in a slot; finish goes where each of them returns to."""
    text = nested.gdb(
        *("break my_table", "tbreak my_hwid", "continue", "p/x $x21", "continue", "backtrace"),
        *("up 2", "p (long)$x29 == (long)$sp", "up", "p/x $x21", "frame 0", "echo NEXT\\n"),
        *("finish", "backtrace", "echo NEXT\\n") * 4,
        *("finish", "kill"),
    )
    chain = ["my_table", "my_scan", "my_find", "my_lookup", "secondary_startup"]
    parts = text.split("NEXT\n")
    assert frames(parts[0])[: len(chain)] == chain
    values = dict(re.findall(r"^\$(\d) = (.*)", text, re.MULTILINE))
    assert values["2"] == "1", "X29 of my_find is that of its record, and SP is its own"
    assert values["3"] == values["1"], "my_find has saved X21, and holds another value in it"
    for at, part in enumerate(parts[1:5], 1):
        assert frames(part) == chain[at:], part
    assert '"finish" not meaningful in the outermost frame.' in text


def test_a_register_that_nobody_has_saved_is_said_not_to_be(nested: Target) -> None:
    text = nested.gdb("break my_found", "continue", "p $x19", "up", "p $x19", "p $x21", "up", "p $x3", "kill")
    assert "$1 = 1\n" in text
    assert text.count(" = <not saved>") == 2, text
    assert "$3 = 1\n" in text


def test_leaf_functions_unwind_with_the_mmu_off_and_on(tmp_path: Path) -> None:
    """Also at the instruction that turns it on, where the CPU runs at PAs.

    To gdb a label (finalise_el2_done) is a function: reverse-finish stops once before it.
    """
    with serving(tmp_path, "v3", "--cpus", "2") as target:
        text = target.gdb(
            *("break *&init_el1", "break *&__enable_mmu", "break *&mmu_on", "break *&finalise_el2"),
            *("continue", "backtrace", "finish", "p/x $pc", "backtrace"),
            *("echo NEXT\\n", "continue", "backtrace", "reverse-finish", "x/i $pc"),
            *("echo NEXT\\n", "continue", "continue", "backtrace"),
            *("stepi", "backtrace", "finish", "backtrace"),
            *("echo NEXT\\n", "continue", "backtrace", "finish", "backtrace"),
            *("reverse-stepi", "delete", "reverse-finish", "reverse-finish", "x/i $pc"),
            "kill",
        )
    first, second, third, fourth = text.split("NEXT\n")
    assert frames(first) == ["init_el1", "secondary_entry", "secondary_entry"]
    assert frames(second) == ["__enable_mmu", "secondary_startup_mmu"]
    assert re.search(r"=> 0x4020\w+ <secondary_startup_mmu\+\d+>:\s+bl\s.*<__enable_mmu>", second)
    assert frames(third) == ["mmu_on", "secondary_startup_mmu"] * 2 + ["secondary_startup_mmu"]
    assert frames(fourth) == ["finalise_el2", "__secondary_switched", "__secondary_switched"]
    assert re.search(r"=> 0xffff8000\w+ <__secondary_switched\+\d+>:\s+bl\s.*<finalise_el2>", fourth)
