"""Page tables that are drawn: any granule, any level, any attributes, beside a mapping that programs need."""

from __future__ import annotations

import struct

from reference.drawn import Draw
from reference.world import CODE, DATA, LOG, VECTORS_EL1, Region

TABLES_PA, TABLES_SIZE = 0x4180_0000, 0x20_0000
PAGE_SHIFTS = {0: 12, 1: 16, 2: 14}  # TCR_ELx.TG0
TG1 = {12: 2, 16: 3, 14: 1}
BLOCK_LEVELS = {12: (1, 2, 3), 14: (2, 3), 16: (2, 3)}
_AF, _SH, _XN, _EL0, _RO = 1 << 10, 3 << 8, 3 << 53, 1 << 6, 2 << 6
_REGION = 0x1_0000  # what a program needs is mapped in pieces of the largest page
_NEEDED = {VECTORS_EL1: _RO | _EL0, CODE: _RO | _EL0, LOG: _XN, DATA: _XN | _EL0}


class Tables:
    """Tables of one granule in memory from ``base`` (PA) on."""

    def __init__(self, shift: int, base: int) -> None:
        self.shift = shift
        self._base = base
        self._tables: list[dict[int, int]] = []

    def root(self) -> int:
        """Return the PA of a new table."""
        self._tables.append({})
        return self._base + (len(self._tables) - 1 << self.shift)

    def put(self, root: int, width: int, va: int, level: int, descriptor: int, upper: int = 0) -> None:
        """Let the table of ``level`` have ``descriptor`` for ``va``; ``upper``: bits of tables above it."""
        per_level = self.shift - 3
        first = 4 - -(-(width - self.shift) // per_level)
        table = root
        for at in range(first, level):
            entries = self._tables[table - self._base >> self.shift]
            index = (va & (1 << width) - 1) >> self.shift + per_level * (3 - at) & (1 << per_level) - 1
            below = entries.get(index, 0)
            if below & 3 != 3:
                below = self.root() | 3 | upper
                entries[index] = below
            table = below & 2**48 - 1 & -(1 << self.shift)
        entries = self._tables[table - self._base >> self.shift]
        index = (va & (1 << width) - 1) >> self.shift + per_level * (3 - level) & (1 << per_level) - 1
        entries[index] = descriptor

    def put_needed(self, root: int, width: int) -> None:
        """Map code, vectors, log and data at their own addresses."""
        for start, bits in _NEEDED.items():
            for pa in range(start, start + _REGION, 1 << self.shift):
                self.put(root, width, pa, 3, pa | 3 | _AF | _SH | bits)

    def region(self) -> Region:
        """Return the bytes of all tables."""
        count = 1 << self.shift - 3
        data = b"".join(
            struct.pack(f"<{count}Q", *(table.get(index, 0) for index in range(count)))
            for table in self._tables
        )
        assert len(data) <= TABLES_SIZE
        return Region(self._base, data)


def descriptor(draw: Draw, shift: int, level: int, pa: int) -> int:
    """Return a block or page that maps ``pa``, or something that is neither, with drawn attributes."""
    kind = 3 if level == 3 else 1
    if draw.random() < 0.08:
        return draw.choice((0, 2, 1 if level == 3 else 0))  # reserved, or invalid
    size = shift + (shift - 3) * (3 - level)
    attributes = draw.choice((0, 0, 0, 1, 2)) << 2
    access = draw.choice((0, 1, 1, 2, 3)) << 6
    flag = 0 if draw.random() < 0.1 else _AF
    execute = draw.choice((0, 0, 1, 2, 3)) << 53
    if draw.random() < 0.06:
        pa |= 1 << draw.choice((32, 36, 40, 42))  # not beyond what every core has, but beyond TCR_ELx.IPS
    return (pa & -(1 << size)) | kind | attributes | access | flag | execute | _SH | draw.bits(1 << 11)


def hierarchy(draw: Draw) -> int:
    """Return the bits of a table descriptor that limit what is below."""
    return draw.choice((0, 0, 0, draw.bits(3 << 61), draw.bits(3 << 59)))
