"""Page tables with a granule of 64 KiB: RAM at its own address, and blocks above it that fault.

There is none for 16 KiB: a Cortex-A72 does not have it, and which one takes its place is not defined.
"""

from __future__ import annotations

import struct

TG0, T0SZ = 1, 22  # TCR_EL1: 42 bits of VA, for which level 2 is the first
SHIFT = 29  # of a VA to its entry
TABLE_PA = 0x4142_0000
_ENTRIES = 8192
_BLOCK, _AF, _RO, _EL0 = 1, 1 << 10, 2 << 6, 1 << 6
_RAM = 0x4000_0000
# What follows RAM at level 2, in order: each faults in its own way, or is RAM once more.
BLOCKS = (
    _RAM | _BLOCK | _AF | _RO,
    _RAM | _BLOCK,
    0,
    _RAM | _BLOCK | _AF | _EL0,
    1 << 36 | _BLOCK | _AF,
    0x4148_0000 | 3,  # a table of zeros
    0x0B00_0000 | 3,  # a table that nobody answers for
)
FIRST_FAULT = _RAM + (1 << SHIFT)  # the VA of the first of BLOCKS


def table() -> bytes:
    """Return the bytes of level 2."""
    entries = [0] * _ENTRIES
    after = FIRST_FAULT >> SHIFT
    entries[after - 1] = _RAM | _BLOCK | _AF | 3 << 8
    entries[after : after + len(BLOCKS)] = BLOCKS
    return struct.pack(f"<{_ENTRIES}Q", *entries)
