"""What stands in packets: numbers, and what a Z packet names."""

from __future__ import annotations

from dataclasses import dataclass

from emu.debug.gdb.packets import PACKET_MAX

# By the digit behind Z: what a stop reply says; of a watchpoint also the accesses that it is for.
BREAKPOINTS = {"0": "swbreak", "1": "hwbreak"}
WATCHPOINTS = {"2": ("write", "watch"), "3": ("read", "rwatch"), "4": ("access", "awatch")}


@dataclass(frozen=True, slots=True)
class Inserted:
    """A breakpoint or watchpoint that gdb has put in.

    :ivar kind: the digit behind Z
    :ivar address: as gdb has it: a VA or a PA
    :ivar size: bytes; of a breakpoint the kind that gdb says
    """

    kind: str
    address: int
    size: int


def parse_inserted(text: str) -> Inserted | None:
    """Return what a Z or z packet names (the text behind the letter); None for a kind that is none.

    :raises ValueError: it is malformed
    """
    kind, address, size = text.partition(";")[0].split(",")
    if kind not in BREAKPOINTS and kind not in WATCHPOINTS:
        return None
    return Inserted(kind, parse_hex(address), min(parse_hex(size), PACKET_MAX))


def parse_hex(text: str) -> int:
    """Return a hexadecimal number of 64 bits.

    :raises ValueError: it is none; int() would take signs and underscores
    """
    if not text.isalnum() or len(text) > 16:
        raise ValueError(text)
    return int(text, 16)


def parse_pair(text: str) -> tuple[int, int]:
    """Return the two numbers on either side of a comma.

    :raises ValueError: there are not two
    """
    first, second = text.split(",")
    return parse_hex(first), parse_hex(second)
