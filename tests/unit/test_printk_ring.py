"""The printk ring of a kernel, however long its struct printk_info is."""

from __future__ import annotations

import struct

import pytest

from emu.host.whole.printk_ring import _ID_MASK, _Ring

RING, DESCS, INFOS, DATA = 0x1000, 0x10_0000, 0x20_0000, 0x30_0000
COUNT_BITS, SIZE_BITS = 4, 12
RESERVED, FINALIZED, REUSABLE = 0, 2, 3


class Made:
    """A ring in which so many lines were printed, as kernel memory; each info has so many bytes."""

    def __init__(self, lines: int, info_bytes: int, *, open_line: bool = False) -> None:
        self.words: dict[int, int] = {}
        size, first_id = 1 << COUNT_BITS, -((1 << COUNT_BITS) + 1) & _ID_MASK
        head = first_id + lines & _ID_MASK
        tail = first_id if lines < size else head - size + 1 & _ID_MASK
        ring = struct.pack("<6Q2Q", COUNT_BITS, DESCS, INFOS, head, tail, 0xFFFF << 48, SIZE_BITS, DATA)
        # v6.9's layout: last_finalized_seq comes before the data ring.
        self._put(RING, ring.ljust(96, b"\0"))
        self._put(DESCS + 24 * (first_id % size), struct.pack("<3Q", REUSABLE << 62, 1, 1))
        for line in range(max(lines - size, 0), lines):
            index, text = (first_id + 1 + line) % size, f"line {line}".encode()
            at = line % size * 64
            state = RESERVED if open_line and line == lines - 1 else FINALIZED
            self._put(DESCS + 24 * index, struct.pack("<3Q", state << 62, at, at + 64))
            info = struct.pack("<2QHBBI", line, line * 1000, len(text), 0, 0, 1)
            self._put(INFOS + info_bytes * index, info.ljust(info_bytes, b"\0"))
            self._put(DATA + at, bytes(8) + text.ljust(56, b"\0"))

    def _put(self, at: int, data: bytes) -> None:
        self.words.update(enumerate(data, at))

    def read(self, va: int, size: int) -> bytes:
        """Return bytes; zeroes where nothing was put."""
        return bytes(self.words.get(va + at, 0) for at in range(size))


@pytest.mark.parametrize("info_bytes", [88, 112, 120])
@pytest.mark.parametrize("lines", [1, 2, 3, 15, 16, 17, 18, 40])
def test_all_lines_are_read_whatever_else_the_kernel_keeps_of_each(lines: int, info_bytes: int) -> None:
    """CONFIG_PRINTK_EXECUTION_CTX has made struct printk_info longer; the ring goes round."""
    found = list(_Ring(Made(lines, info_bytes), final=True).lines(RING, 0, None))  # type: ignore[arg-type]
    kept = range(max(lines - 16, 0), lines)
    assert [line.text for line in found][-15:] == [f"line {number}" for number in kept][-15:]
    assert [line.time for line in found] == [1000 * line.number for line in found]


@pytest.mark.parametrize("info_bytes", [88, 112])
@pytest.mark.parametrize("lines", [1, 2, 3, 9])
def test_a_line_that_is_being_written_is_left_out(lines: int, info_bytes: int) -> None:
    made = Made(lines, info_bytes, open_line=True)
    found = list(_Ring(made, final=True).lines(RING, 0, None))  # type: ignore[arg-type]
    assert [line.text for line in found] == [f"line {number}" for number in range(lines - 1)]
