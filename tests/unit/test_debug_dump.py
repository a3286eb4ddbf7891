"""Memory in rows, and the command that follows it."""

from __future__ import annotations

import pytest
from command_sessions import commands_on
from hypothesis import given
from hypothesis import strategies as st

from emu.debug.dump import dump
from emu.errors import InvalidCase


@given(
    data=st.binary(min_size=1, max_size=100),
    width=st.sampled_from((1, 2, 4, 8)),
    form=st.sampled_from(("hex", "dec")),
    columns=st.integers(10, 200),
    address=st.sampled_from((0x4000_0000, 0xFFFF_8000_8000_0008)),
)
def test_the_words_of_all_rows_are_the_bytes(
    data: bytes, width: int, form: str, columns: int, address: int
) -> None:
    rows = dump(address, data, width, form, columns)
    starts = [int(row.split()[0], 16) - address for row in rows]
    assert starts[0] == 0
    for row, start, end in zip(rows, starts, [*starts[1:], len(data)], strict=True):
        part = data[start:end]
        values = [int.from_bytes(part[at : at + width], "little") for at in range(0, len(part), width)]
        shown = [str(value) if form == "dec" else f"{value:0{2 * width}x}" for value in values]
        assert row[: -len(part)].split()[1:] == shown
        assert all(char in (chr(byte), ".") for char, byte in zip(row[-len(part) :], part, strict=True))


@pytest.mark.parametrize(("columns", "size"), [(80, 16), (71, 16), (60, 8), (20, 8), (150, 32)])
def test_a_row_has_as_many_bytes_as_there_is_room_for(columns: int, size: int) -> None:
    rows = dump(0xFFFF_8000_8000_0000, bytes(64), 8, "hex", columns)
    assert len(rows) == 64 // size
    assert size == 8 or max(map(len, rows)) <= columns


def test_memory_follows_data_and_expressions_as_the_cpu_sees_them() -> None:
    commands = commands_on("v3", topology="flat:2")
    with pytest.raises(InvalidCase, match="nothing: name an address"):
        commands.run("memory u32")
    commands.run("until scan cpu 1")
    rows = commands.run("memory u32 x1")
    (first,) = commands.run("x u32 x1")
    assert rows[0].split()[1] == first.split()[2].removeprefix("0x").rstrip(":")
    assert commands.run("memory dec")[0].split()[1] == f"{int(first.split()[2], 16):10}".strip()
    for wrong in ("memory u32 nowhere", "memory 0x10", "memory x1 +"):
        with pytest.raises(InvalidCase):
            commands.run(wrong)
    assert commands.followed_memory()["what"] == "x1", "a wrong one changes nothing"
    commands.run("cpu 0")
    assert commands.followed_memory()["said"] == ""
