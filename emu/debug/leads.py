"""Where an instruction leads to, besides its branch: the next one, and addresses that code makes.

An address that code makes (ADR, ADRP with ADD, a literal) is one that a branch to a register, a return from
an exception or a vector may go to.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import a64
from emu.arch.operand import access_va

VECTORS_BYTES, VECTOR_BYTES = 0x800, 0x80  # of a vector table, and of one vector
_ZEROS = (0,) * 32  # registers, which a literal does not need
_ADD_WITHIN = 4  # instructions from an ADRP to the ADD that completes it


def goes_on(word: int) -> bool:
    """Tell whether the next instruction is come to from this one: not B, BR, RET and ERET, but BLR."""
    top = word >> 24
    return top & 0xFC != 0x14 and (top not in (0xD6, 0xD7) or word >> 21 & 0xF == 1)


def made_address(
    word_at: Callable[[int], int | None], pa_of: Callable[[int], int], pa: int, word: int
) -> int | None:
    """Return the PA of an instruction whose address the instruction at ``pa`` makes; None: it makes none.

    :param word_at: returns the word (u32) at a PA, or None outside of memory
    :param pa_of: returns the PA of an address that a literal holds
    """
    made = a64.pc_relative(word, pa)
    if made is not None:
        if not a64.is_adrp(word):
            return made
        for at in range(pa + 4, pa + 4 + 4 * _ADD_WITHIN, 4):
            added = word_at(at)
            if added is not None and added >> 22 == 0x244 and added >> 5 & 31 == word & 31:
                return made + (added >> 10 & 0xFFF)
    elif word >> 24 == 0x58:  # LDR (literal)
        literal = access_va(word, pa, _ZEROS)
        low, high = word_at(literal), word_at(literal + 4)
        if low is not None and high is not None:
            found = pa_of(high << 32 | low)
            return None if found & 3 else found
    return None
