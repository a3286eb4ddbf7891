"""What a look-up may find at entry in all that its contract leaves open: registers, flags, DAIF, SCTLR.

A right answer does not depend on it. Each start is one way to fill what holds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.arch.boot import IMAGE_PA
from emu.lookup.driver import DRIVER_FLAGS, DRIVER_POISONS

DAIF_ALL = 0x3C0
_ADDRESSES = tuple(IMAGE_PA + 8 * number for number in range(31))


@dataclass(frozen=True, slots=True)
class Start:
    """One state at entry, as far as the contract leaves it open.

    :ivar registers: X0..X30 (u64)
    :ivar nzcv: the flags, as NZCV has them (bits 31:28)
    :ivar daif: the interrupt masks, as DAIF has them (bits 9:6)
    :ivar checks_sp: whether SCTLR_ELx.SA is set: an access by an SP that is not aligned faults
    :ivar words: how a message tells of it; nothing: of the first
    """

    registers: tuple[int, ...]
    nzcv: int
    daif: int = DAIF_ALL
    checks_sp: bool = False
    words: str = ""


# The first two: no two registers alike, none an address; no flag is the same in both. The batch has the
# second.
STARTS = (
    Start(tuple(0xA5C3_0000_0000_0000 | number for number in range(31)), 0x5000_0000),
    Start(DRIVER_POISONS, DRIVER_FLAGS, words="when registers that hold nothing have other values"),
    Start(
        (0,) * 31, 0x6000_0000, 0, True, "with 0 in what holds nothing, no interrupt masked, SCTLR_ELx.SA set"
    ),
    Start((2**64 - 1,) * 31, 0xF000_0000, 0x80, True, "with all ones in what holds nothing"),
    Start(tuple(range(31)), 0, 0x240, False, "with small numbers in what holds nothing"),
    Start(_ADDRESSES, 0x9000_0000, 0, True, "with addresses in what holds nothing"),
)
