"""Physical memory shared by every PE and host task: one anonymous mapping, addressed by PA."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from emu.errors import InvalidCase
from emu.touched import touched

PAGE_SIZE = 4096
LINE_SIZE = 64  # bytes of a cache line, the smallest of any memory model
_INTEGERS = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


class Memory:
    """DRAM from ``base`` to ``base + size`` (PA, bytes), little-endian, zero at power-on.

    Untouched pages cost nothing. The engine maps the same bytes, so a PE loads what was written here. When
    code is written here, the engine must drop its translation (``writes_to_code``).

    :ivar octets: all of it by offset; a slice is a copy, and takes a third of the time of one of ``view``
    :ivar view: the same
    :ivar behind: lines (64 bytes) that caches hold newer when a run begins, by PA, and what those see of them
        whose accesses go past the caches; for memory models with lines
    """

    def __init__(self, base: int, size: int) -> None:
        if base % PAGE_SIZE or size % PAGE_SIZE or size <= 0:
            raise InvalidCase(f"memory {base:#x}+{size:#x}: base and size are multiples of {PAGE_SIZE}")
        self.base = base
        self.size = size
        self.octets = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self.octets)
        self._quads = self.view.cast("Q")
        self.behind: dict[int, bytes] = {}
        self._followed: list[tuple[int, int]] | None = None  # PA and bytes of what is written here
        self._anchor = ctypes.c_char.from_buffer(self.octets)  # keeps the mapping alive for the engine

    @property
    def host_address(self) -> int:
        """Virtual address of the first byte in this process (not a guest address)."""
        return ctypes.addressof(self._anchor)

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the offset from ``base`` and the bytes of pages, upwards: all that is beside them is zero."""
        for run in touched(self.host_address, self.size):
            for at in range(run.start & -PAGE_SIZE, run.stop, PAGE_SIZE):
                yield at, self.octets[at : at + PAGE_SIZE]

    @contextmanager
    def following(self) -> Iterator[list[tuple[int, int]]]:
        """Note PA and bytes of all that is written through this object, not by an engine, in order."""
        assert self._followed is None, "followed already"
        self._followed = []
        try:
            yield self._followed
        finally:
            self._followed = None

    def contains(self, pa: int, size: int) -> bool:
        """Tell whether ``size`` bytes at ``pa`` are DRAM."""
        return self.base <= pa and pa + size <= self.base + self.size

    def offset(self, pa: int, size: int) -> int:
        """Return the offset of ``pa`` in the mapping.

        :raises InvalidCase: the range is not DRAM
        """
        if not self.contains(pa, size):
            end = self.base + self.size
            raise InvalidCase(f"pa={pa:#x}: {size} bytes are outside DRAM {self.base:#x}..{end:#x}")
        return pa - self.base

    def read(self, pa: int, size: int) -> int:
        """Return the little-endian value of ``size`` bytes (1, 2, 4 or 8) at ``pa``."""
        at = pa - self.base
        if at < 0 or at + size > self.size:
            self.offset(pa, size)
        value: int = _INTEGERS[size].unpack_from(self.octets, at)[0]
        return value

    def u64(self, pa: int) -> int | None:
        """Return the u64 at ``pa``, None where no memory is."""
        at = pa - self.base
        if at < 0 or at + 8 > self.size:
            return None
        value: int = _INTEGERS[8].unpack_from(self.octets, at)[0]
        return value

    def write(self, pa: int, size: int, value: int) -> None:
        """Store the low ``size`` bytes (1, 2, 4 or 8) of ``value`` at ``pa``."""
        at = pa - self.base
        if at < 0 or at + size > self.size:
            self.offset(pa, size)
        _INTEGERS[size].pack_into(self.octets, at, value & ((1 << 8 * size) - 1))
        if self._followed is not None:
            self._followed.append((pa, size))

    def exchange(self, words: Mapping[int, int]) -> dict[int, int]:
        """Store a u64 at each of these PAs, aligned and DRAM; return what was there."""
        quads, base = self._quads, self.base
        before = {}
        for pa, value in words.items():
            at = pa - base >> 3
            before[pa] = quads[at]
            quads[at] = value
        if self._followed is not None:
            self._followed += [(pa, 8) for pa in words]
        return before

    def read_bytes(self, pa: int, size: int) -> bytes:
        """Return ``size`` bytes at ``pa``."""
        at = self.offset(pa, size)
        return self.octets[at : at + size]

    def write_bytes(self, pa: int, data: bytes) -> None:
        """Store ``data`` at ``pa``."""
        at = self.offset(pa, len(data))
        self.octets[at : at + len(data)] = data
        if self._followed is not None:
            self._followed.append((pa, len(data)))
