"""Kinds of tables: the bytes that each makes of a logical map."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu.arch.mpidr import INVALID_HWID, affinity
from emu.errors import InvalidContract
from emu.lookup.contract import LookupTable
from emu.lookup.tables import KINDS, SIZE_MAX, DoesNotFit, fill, get_kind, shape_of
from emu.lookup.tables.mpidr_hash import build_hash

NAMES = {"NR_CPUS": 4}
MAP = (3, None, 0x1_0000_0000, 1)


def entries(table: LookupTable, logical_map: tuple[int | None, ...] = MAP) -> list[int]:
    """The entries that a table has."""
    data = fill(table, logical_map, NAMES)
    size = table.element
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]


def test_the_kinds_are_these() -> None:
    assert list(KINDS) == ["hash-to-cpu", "hwid", "mpidr-hash", "sorted-cpu", "sorted-hwid"]


def test_hwid_has_each_cpus_hwid_and_all_ones_in_holes() -> None:
    assert entries(LookupTable("t")) == [3, INVALID_HWID, 0x1_0000_0000, 1]


def test_hwid_has_what_unused_says_in_holes_and_behind_the_map() -> None:
    assert entries(LookupTable("t", unused=0), (3, None)) == [3, 0, 0, 0]
    assert entries(LookupTable("t", count="NR_CPUS + 1", unused=5)) == [3, 5, 0x1_0000_0000, 1, 5]


@pytest.mark.parametrize(("element", "unused"), [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFF_FFFF)])
def test_all_ones_are_those_of_the_element(element: int, unused: int) -> None:
    assert entries(LookupTable("t", element), (1, None)) == [1, unused, unused, unused]


def test_entries_are_little_endian() -> None:
    assert fill(LookupTable("t", 4, "1"), (0x010203,), NAMES) == b"\x03\x02\x01\x00"


def test_a_hwid_wider_than_an_entry_does_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="0x100000000 does not fit an entry of 4 bytes"):
        fill(LookupTable("t", 4), MAP, NAMES)


def test_more_cpus_than_entries_do_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="5 values for a table of 4 entries"):
        fill(LookupTable("t"), (1, 2, 3, 4, 5), NAMES)


def test_sorted_hwid_is_ascending_with_the_unused_at_the_end() -> None:
    assert entries(LookupTable("t", holds="sorted-hwid")) == [1, 3, 0x1_0000_0000, INVALID_HWID]


def test_sorted_cpu_says_whose_each_sorted_hwid_is() -> None:
    assert entries(LookupTable("t", 2, holds="sorted-cpu")) == [3, 0, 2, 0xFFFF]
    assert entries(LookupTable("t", 2, holds="sorted-cpu", unused=0)) == [3, 0, 2, 0]


def test_mpidr_hash_is_the_kernels_structure() -> None:
    """Of CPUs 0..3 in two clusters: one bit of Aff0, one of Aff1."""
    logical_map = tuple(affinity(0, 0, cluster, core) for cluster in (0, 1) for core in (0, 1))
    data = fill(LookupTable("t", 8, "4", "mpidr-hash"), logical_map, NAMES)
    assert struct.unpack("<Q5I4x", data) == (0x101, 0, 7, 14, 30, 2)


@pytest.mark.parametrize(
    ("hwids", "mask", "shifts", "bits"),
    [
        ((), 0, (0, 8, 16, 32), 0),
        ((0x100,), 0, (0, 8, 16, 32), 0),
        ((0x2, 0x80), 0x82, (1, 1, 9, 25), 7),  # the example in the kernel's comment
        ((0, 0x300, 0x1_0000_0000), 0x1_0000_0300, (0, 8, 14, 30), 3),
        ((0, 0xFF_00FF_FFFF), 0xFF_00FF_FFFF, (0, 0, 0, 8), 32),
    ],
)
def test_hash_takes_the_bits_that_differ(
    hwids: tuple[int, ...], mask: int, shifts: tuple[int, ...], bits: int
) -> None:
    """Linux v6.12 arch/arm64/kernel/setup.c, smp_build_mpidr_hash()."""
    found = build_hash(hwids)
    assert (found.mask, found.shifts, found.bits) == (mask, shifts, bits)
    assert len({found.bucket(hwid) for hwid in hwids}) == len(hwids)


def test_hash_to_cpu_has_each_cpu_in_its_bucket() -> None:
    logical_map = (0x0, 0x100, 0x1, None)
    found = entries(LookupTable("t", 2, "8", "hash-to-cpu"), logical_map)
    assert found == [0, 2, 1, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF]
    assert entries(LookupTable("t", 2, "4", "hash-to-cpu", unused=9), logical_map) == [0, 2, 1, 9]


def test_a_hash_with_more_buckets_than_there_is_room_for_does_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="a hash of 4 bits for a table of 8 buckets"):
        fill(LookupTable("t", 2, "8", "hash-to-cpu"), (0, 0xF), NAMES)


def test_two_entries_of_one_hash_do_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="CPU 0 and CPU 1 have the hash 0x0"):
        fill(LookupTable("t", 2, "8", "hash-to-cpu"), (1, 1 | 1 << 31), NAMES)


def test_a_table_of_no_or_too_many_entries_has_no_shape() -> None:
    for count in ("0", "NR_CPUS - 5", str(SIZE_MAX // 8 + 1)):
        with pytest.raises(InvalidContract, match="a table has 1.."):
            shape_of(LookupTable("t", count=count), NAMES)
    assert shape_of(LookupTable("t", count=str(SIZE_MAX // 8)), NAMES).count == SIZE_MAX // 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_a_whole_table_for_every_map(kind: str) -> None:
    names = {"NR_CPUS": 64}
    table = LookupTable("t", KINDS[kind].element, KINDS[kind].count, kind)
    for logical_map in ((), (None,), (0,), (None, 5), tuple(range(64)), (None,) * 63 + (7,)):
        shape = shape_of(table, names)
        assert len(fill(table, logical_map, names)) == shape.element * shape.count


# --- a kind of the user's own


def own(folder: Path, body: str) -> LookupTable:
    """A table whose kind is a file."""
    path = folder / "own.py"
    lines = (
        "from emu.lookup.tables import TableKind, DoesNotFit",
        "NAME = 'own'",
        body,
        "KIND = TableKind(fill)",
    )
    path.write_text("\n".join(lines))
    return LookupTable("t", holds=str(path))


def test_a_kind_of_the_users_own_fills_its_table(tmp_path: Path) -> None:
    table = own(tmp_path, "def fill(m, shape): return shape.pack([h * 2 for h in m])")
    assert entries(table, (1, 2)) == [2, 4, INVALID_HWID, INVALID_HWID]
    assert get_kind(table.holds) is get_kind(table.holds)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("def fill(m, shape): return b'12'", "fill: returned 2 bytes; the table has 32 bytes"),
        ("def fill(m, shape): return None", "fill: returned NoneType; the table has 32 bytes"),
        ("def fill(m, shape): return m[99]", "fill: IndexError"),
    ],
)
def test_a_kind_of_the_users_own_that_misbehaves_is_named(body: str, rule: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidContract, match=rule):
        fill(own(tmp_path, body), MAP, NAMES)


def test_a_kind_of_the_users_own_may_say_that_a_map_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="not mine"):
        fill(own(tmp_path, "def fill(m, shape): raise DoesNotFit('not mine')"), MAP, NAMES)
