"""Fields of packets: numbers, the breakpoint or watchpoint of a Z packet, the actions of vCont."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from emu.debug.gdb.packets import PACKET_MAX

# By the digit after Z: the word in a stop reply; for a watchpoint also the accesses that it stops.
BREAKPOINTS = {"0": "swbreak", "1": "hwbreak"}
WATCHPOINTS = {"2": ("write", "watch"), "3": ("read", "rwatch"), "4": ("access", "awatch")}


@dataclass(frozen=True, slots=True)
class Inserted:
    """A breakpoint or watchpoint that gdb has inserted.

    :ivar kind: the digit after Z
    :ivar address: VA or PA, as gdb sends it
    :ivar size: bytes; for a breakpoint gdb's kind field
    """

    kind: str
    address: int
    size: int


def parse_inserted(text: str) -> Inserted | None:
    """Parse the text after the letter of a Z or z packet; return None for an unknown kind.

    :raises ValueError: it is malformed
    """
    kind, address, size = text.partition(";")[0].split(",")
    if kind not in BREAKPOINTS and kind not in WATCHPOINTS:
        return None
    return Inserted(kind, parse_hex(address), min(parse_hex(size), PACKET_MAX))


@lru_cache(maxsize=64)
def parse_actions(text: str) -> tuple[tuple[str, str], ...]:
    """Return the actions of vCont, each with its thread-id, which may be empty; gdb repeats a few of them.

    :raises ValueError: one is none
    """
    parts = [part.partition(":") for part in text.split(";")]
    if not all(what and what[0] in "cCsSrt" for what, _, _ in parts):
        raise ValueError(text)
    return tuple((what, thread) for what, _, thread in parts)


def parse_hex(text: str) -> int:
    """Return a hexadecimal number of 64 bits.

    :raises ValueError: it is not one; signs and underscores, which int() accepts, are refused
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
