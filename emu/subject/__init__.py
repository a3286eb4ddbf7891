"""Subjects: the code under test, as bytes at physical addresses with symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emu.subject.lines import Lines
from emu.subject.symbols import Symbols

NO_LINES = Lines({})
_FLAT = ".flat"


def is_flat(path: Path) -> bool:
    """Tell whether ``path`` is called a flat image (:mod:`emu.subject.flat`)."""
    return path.suffix == _FLAT and path.is_file()


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that the loader puts at a physical address; ``size`` may exceed the bytes (zero fill)."""

    pa: int
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Code under test after loading. Only the name says where it was loaded from.

    ``va_offset`` is VA minus PA of the image mapping (u64 arithmetic), ``identity`` names the exact
    bytes (a SHA-256 prefix), ``defines`` are the constants it was assembled with, ``constants`` PAs of bytes
    that no code writes: text, read-only data, a global offset table.
    """

    name: str
    identity: str
    segments: tuple[Segment, ...]
    symbols: Symbols
    va_offset: int
    defines: Mapping[str, int] = field(default_factory=dict)
    assembler: str = ""
    lines: Lines = NO_LINES
    constants: tuple[range, ...] = ()

    def va(self, symbol: str) -> int:
        """Return the VA of ``symbol``; raise :class:`Untestable` when the subject lacks it."""
        return self.symbols.require(symbol, self.name)

    def pa(self, symbol: str) -> int:
        """Return the PA of ``symbol``; raise :class:`Untestable` when the subject lacks it."""
        return (self.va(symbol) - self.va_offset) & (2**64 - 1)
