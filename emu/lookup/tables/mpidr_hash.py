"""The kernel's ``struct mpidr_hash``: u64 mask, u32 shift_aff[4], u32 bits; 32 bytes with its padding.

The hash of an MPIDR takes the bits in which CPUs differ, from the lowest to the highest such bit of each
affinity level, and puts the levels side by side: ``(mpidr & mask & level) >> shift_aff[n]``, ORed. Source:
Linux v6.12 arch/arm64/kernel/setup.c, smp_build_mpidr_hash(); asm/smp_plat.h, struct mpidr_hash.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from emu.arch.mpidr import AFF0, AFF1, AFF2, AFF3
from emu.lookup.tables import LogicalMap, Shape, TableKind

NAME = "mpidr-hash"

_LEVELS = tuple(low for _, low in (AFF0, AFF1, AFF2, AFF3))


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash as the kernel has it.

    :ivar mask: u64, the bits in which CPUs differ
    :ivar shifts: u32 each, right shift of affinity level 0..3
    :ivar bits: width of a hash; there are ``1 << bits`` buckets
    """

    mask: int
    shifts: tuple[int, int, int, int]
    bits: int

    def bucket(self, mpidr: int) -> int:
        """Return the hash of ``mpidr`` (u64), ``0 <= hash < 1 << bits``."""
        kept = mpidr & self.mask
        first, second, third, fourth = self.shifts
        return (
            (kept & 0xFF) >> first
            | (kept & 0xFF00) >> second
            | (kept & 0xFF_0000) >> third
            | (kept & 0xFF_0000_0000) >> fourth
        )


def build_hash(hwids: Iterable[int]) -> Hash:
    """Return the hash that the kernel makes for CPUs with these hwids (u64 each); with none, of 0 bits."""
    every, common = 0, -1
    for hwid in hwids:
        every |= hwid
        common &= hwid
    mask = every & ~common
    shifts, bits = [], 0
    for low in _LEVELS:
        differ = mask >> low & 0xFF
        first = (differ & -differ).bit_length() - 1 if differ else 0
        shifts.append(low + first - bits)
        bits += differ.bit_length() - first
    return Hash(mask, (shifts[0], shifts[1], shifts[2], shifts[3]), bits)


def _fill(logical_map: LogicalMap, shape: Shape) -> bytes:
    found = build_hash(hwid for hwid in logical_map if hwid is not None)
    return struct.pack("<Q5I4x", found.mask, *found.shifts, found.bits)


KIND = TableKind(_fill, element=8, count="4", exact=True, per_cpu=False)
