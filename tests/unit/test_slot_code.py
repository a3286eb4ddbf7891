"""Where code takes its slot of a table: every way in which compilers and people write it."""

from __future__ import annotations

import pytest
from bare_pe import CODE, assemble
from booting import run

from emu.cpu.unicorn.engine import UnicornEngine
from emu.designs import DESIGNS
from emu.host.slot_code import IndexUse, index_uses

TABLE = CODE + 0x40_0010


def adr(register: int, offset: int, *, page: bool = False) -> bytes:
    """ADR, or ADRP of a number of pages: Keystone takes their operands for addresses."""
    word = page << 31 | 0x1000_0000 | (offset & 3) << 29 | (offset >> 2 & 0x7_FFFF) << 5 | register
    return word.to_bytes(4, "little")


PAGE = adr(0, 0x400, page=True) + assemble(f"add x0, x0, #{TABLE & 0xFFF:#x}")


@pytest.mark.parametrize(
    ("formed", "text", "expected"),
    [
        (PAGE, "add x0, x0, x19, lsl #4", [IndexUse(CODE + 8, 19)]),
        (PAGE, "lsl x3, x19, #4\n add x0, x0, x3", [IndexUse(CODE + 8, 19)]),
        (PAGE, "nop\n ldr x2, [x0, x21, lsl #3]", [IndexUse(CODE + 12, 21)]),
        (PAGE, "add x0, x0, w5, uxtw #4", [IndexUse(CODE + 8, 5)]),
        (adr(7, 0x8_0000), "add x7, x7, x19, lsl #4", []),  # another table
        (PAGE, "b .\n add x0, x0, x19, lsl #4", []),  # not behind the address
        (PAGE, "add x1, x1, x19, lsl #4", []),  # to another base
        (PAGE, "ldr x2, [x0]", []),
    ],
)
def test_uses_of_an_index(formed: bytes, text: str, expected: list[IndexUse]) -> None:
    code = formed + assemble(text)
    assert list(index_uses(memoryview(code).cast("I"), CODE, TABLE)) == expected


@pytest.mark.parametrize("offset", [0x1000, -0x1000, 0xF_FFFF, -0x10_0000, 2])
def test_an_adr_before_and_behind_the_table(offset: int) -> None:
    code = adr(4, offset) + assemble("add x0, x4, x19, lsl #4")
    found = list(index_uses(memoryview(code).cast("I"), CODE, CODE + offset))
    assert found == [IndexUse(CODE + 4, 19)]
    assert list(index_uses(memoryview(code).cast("I"), CODE, CODE + offset + 1)) == []


@pytest.mark.parametrize("design", [name for name, each in DESIGNS.items() if each.data_per_cpu])
def test_each_design_with_slots_shows_its_place(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an index that is too large would pass unseen: with one slot less the last CPU is told of."""
    original = UnicornEngine.watch_index

    def fewer(self: UnicornEngine, vas: dict[int, int], limit: int) -> None:
        original(self, vas, limit and limit - 1)

    assert run(design).messages == []
    monkeypatch.setattr(UnicornEngine, "watch_index", fewer)
    told = run(design).verdict.findings
    assert [finding.what for finding in told] == (["no-slot"] if design != "context-id" else [])
