"""VMSAv8-64 translation tables with a 4 KiB granule and 48-bit addresses (Arm DDI 0487, D8.3)."""

from __future__ import annotations

from collections.abc import Callable

TABLE = 0b11
BLOCK = 0b01
AF = 1 << 10
SH_INNER = 3 << 8
PXN = 1 << 53
UXN = 1 << 54
BLOCK_2M = 1 << 21
_ADDRESS = 0x0000_FFFF_FFFF_F000


def map_blocks(
    read: Callable[[int], int],
    write: Callable[[int, int], None],
    allocate: Callable[[], int],
    root_pa: int,
    va: int,
    pa: int,
    size: int,
    attr_index: int,
) -> None:
    """Map ``size`` bytes at ``va`` to ``pa`` with 2 MiB blocks, EL1 read-write-execute.

    :param read: returns the u64 at a PA
    :param write: stores a u64 at a PA
    :param allocate: returns the PA of a zeroed 4 KiB page for a table
    :param root_pa: PA of the level 0 table
    :param va, pa, size: multiples of 2 MiB
    :param attr_index: index into MAIR_EL1, 0..7
    """
    assert (va | pa | size) % BLOCK_2M == 0, "2 MiB blocks"
    attributes = AF | SH_INNER | UXN | attr_index << 2 | BLOCK
    for offset in range(0, size, BLOCK_2M):
        table = root_pa
        for shift in (39, 30):
            entry = table + 8 * (va + offset >> shift & 0x1FF)
            descriptor = read(entry)
            if not descriptor & 1:
                descriptor = allocate() | TABLE
                write(entry, descriptor)
            table = descriptor & _ADDRESS
        write(table + 8 * (va + offset >> 21 & 0x1FF), (pa + offset) | attributes)
