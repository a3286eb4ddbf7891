"""One instruction class: its encoding and what it does; and what several groups of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Value
from emu.lookup.prove.flags import Subtracted, added
from emu.lookup.prove.state import State, Step


def _all(_word: int) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Instruction:
    """What words of one encoding do.

    :ivar name: the mnemonics
    :ivar mask: the bits that are fixed
    :ivar value: what they are
    :ivar execute: does it to a state, but for the PC
    :ivar allocated: whether a word that fits is allocated, and what is meant
    """

    name: str
    mask: int
    value: int
    execute: Callable[[int, State], Step]
    allocated: Callable[[int], bool] = _all


def width_of(word: int) -> int:
    """Return 64 or 32 by bit 31 (sf)."""
    return 64 if word >> 31 else 32


def field(word: int, high: int, low: int) -> int:
    """Return bits high:low."""
    return word >> low & (1 << high - low + 1) - 1


def rd(word: int) -> int:
    """Return Rd, or Rt."""
    return word & 31


def rn(word: int) -> int:
    """Return Rn."""
    return word >> 5 & 31


def rm(word: int) -> int:
    """Return Rm."""
    return word >> 16 & 31


def ra(word: int) -> int:
    """Return Ra, or Rt2."""
    return word >> 10 & 31


def add_or_subtract(word: int, state: State, a: Value, b: Value, *, to_sp: bool) -> None:
    """Do ADD, ADDS, SUB or SUBS of two values.

    :param to_sp: register 31 of the result is SP where no flags are set, else XZR
    """
    width, subtracts = width_of(word), field(word, 30, 30)
    if not field(word, 29, 29):
        result = (bits.sub if subtracts else bits.add)(a, b, width)
        (state.write_sp if to_sp else state.write)(rd(word), result, width)
    elif subtracts:
        state.flags = Subtracted(a, b, width)
        if rd(word) != 31:
            state.write(rd(word), bits.sub(a, b, width), width)
    else:
        result, state.flags = added(a, b, False, width)
        state.write(rd(word), result, width)
