"""One question to a lookup: which CPUs there are, and which of them asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.errors import InvalidCase

HOLE = "-"


@dataclass(frozen=True, slots=True)
class Question:
    """A logical map and an MPIDR.

    :ivar logical_map: hwid (u64) of each logical CPU, None for a hole; CPUs beyond it are holes too
    :ivar mpidr: MPIDR_EL1 (u64) of the CPU that looks itself up, with whatever flags it has
    """

    logical_map: tuple[int | None, ...]
    mpidr: int

    def text(self) -> str:
        """Return ``map=HWID,-,HWID mpidr=MPIDR``; trailing holes are left out."""
        hwids = list(self.logical_map)
        while hwids and hwids[-1] is None:
            hwids.pop()
        return f"map={format_map(hwids)} mpidr={self.mpidr:#x}"


def format_map(hwids: Sequence[int | None]) -> str:
    """Return a logical map as text: hwids in hexadecimal, ``-`` for a hole."""
    return ",".join(HOLE if hwid is None else f"{hwid:#x}" for hwid in hwids)


def parse_map(text: str, where: str) -> tuple[int | None, ...]:
    """Return the logical map that :func:`format_map` wrote as ``text``.

    :raises InvalidCase: an entry that is neither ``-`` nor a u64
    """
    hwids: list[int | None] = []
    for index, word in enumerate(text.split(",") if text else ()):
        hwids.append(None if word == HOLE else parse_u64(word, f"{where}[{index}]"))
    return tuple(hwids)


def parse_u64(text: str, where: str) -> int:
    """Return the number that ``text`` is.

    :raises InvalidCase: it is none, or none of 64 bits
    """
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 2**64:
        raise InvalidCase(f"{where}={text!r:.60}: an integer of at most 64 bits")
    return value
