"""Fields of many records at once."""

from __future__ import annotations

import pytest

from emu.columns import RECORD, among, both, either, of_several, sums, with_bytes, with_owners
from emu.operation import Kind
from emu.trace import Trace

TOP = 2**64 - 1
ROWS = [
    (Kind.LOAD, 8, 0, 0x1000, 0x4000_0000, 5),
    (Kind.STORE, 64, 0xFFFF, TOP, 0xFFFF_FFFF_FFFF, TOP),
    (Kind.BARRIER, 0, 300, TOP - 3, 0, 0xD503_3BBF),
]


def test_each_field_is_that_of_the_rows() -> None:
    trace = Trace("")
    trace.put(b"".join(RECORD.pack(*row) for row in ROWS))
    columns = trace.columns()
    fields = (columns.kinds, columns.sizes, columns.actors, columns.pcs, columns.pas)
    assert [tuple(row) for row in zip(*fields, strict=True)] == [row[:5] for row in ROWS]
    assert columns.are(Kind.STORE, Kind.BARRIER) == bytes((0, 1, 1))
    assert list(trace.flagged(bytes((1, 0, 1)))) == [(0, ROWS[0]), (2, ROWS[2])]


def test_records_that_are_added_or_taken_away_show() -> None:
    trace = Trace("")
    assert len(trace.columns()) == 0
    trace.put(RECORD.pack(*ROWS[0]))
    before = trace.columns()
    assert trace.columns() is before
    trace.take()
    trace.put(RECORD.pack(*ROWS[1]))
    assert trace.columns().sizes == bytes((64,))
    assert list(before.pas) == [ROWS[0][4]]  # also when it is asked for as late as here


def test_the_numbers_of_flagged_records_count_every_wake() -> None:
    """A crowd that wakes is one record as it is kept."""
    trace = Trace("")
    trace.put(RECORD.pack(*ROWS[0]))
    trace.add_wakes((), [(0x2000, 0b111)])
    trace.put(RECORD.pack(*ROWS[1]))
    assert list(trace.flagged(trace.columns().are(Kind.STORE))) == [(4, ROWS[1])]


@pytest.mark.parametrize(
    ("keys", "owners", "several"),
    [
        ([], [], set()),
        ([1, 2, 1], [0, 0, 0], set()),
        ([1, 2, 1, 2], [0, 0, 1, 0], {1}),
        ([7] * 3, [0, 1, 0], {7}),
    ],
)
def test_keys_of_several_owners(keys: list[int], owners: list[int], several: set[int]) -> None:
    assert of_several(keys, owners) == several


def test_flags_and_bytes() -> None:
    assert both(b"\1\1\0\0", b"\1\0\1\0") == b"\1\0\0\0"
    assert either(b"\1\1\0\0", b"\1\0\1\0") == b"\1\1\1\0"
    assert both(b"", b"") == either(b"", b"") == b""
    assert sums(b"\7\1", b"\x40\2") == b"\x47\3"
    assert among([3, 4], range(4)) == b"\1\0"
    trace = Trace("")
    trace.put(b"".join(RECORD.pack(*row) for row in ROWS))
    columns = trace.columns()
    assert with_bytes(columns.pas, 7, bytes((1, 2, 3)))[1] == 0x02FF_FFFF_FFFF_FFFF & ~(0xFF << 48)
    assert list(with_owners(columns.pas, columns.actors)) == [row[4] | row[2] << 48 for row in ROWS]
