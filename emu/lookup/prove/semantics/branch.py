"""Branches.

Source: Arm DDI 0487, C4.1.94.
"""

from __future__ import annotations

from emu.arch import a64
from emu.lookup.prove import bits
from emu.lookup.prove.flags import condition
from emu.lookup.prove.semantics.instruction import Instruction, field, rd, rn, width_of
from emu.lookup.prove.state import Goes, State, Step


def _target(word: int, state: State) -> int:
    to = a64.branch_target(word, state.pc)
    assert to is not None
    return to % 2**64


def _b(word: int, state: State) -> Step:
    return Goes(_target(word, state))


def _bl(word: int, state: State) -> Step:
    state.write(30, state.pc + 4)
    return Goes(_target(word & 0x7FFF_FFFF, state))


def _conditional(word: int, state: State) -> Step:
    return Goes(_target(word, state), condition(state.flags, field(word, 3, 0)))


def _compare(word: int, state: State) -> Step:
    width = width_of(word)
    zero = bits.equal(state.read(rd(word), width), 0, width)
    return Goes(_target(word, state), bits.negate(zero) if field(word, 24, 24) else zero)


def _test(word: int, state: State) -> Step:
    number = word >> 31 << 5 | field(word, 23, 19)
    is_set = bits.bit(state.read(rd(word)), number)
    return Goes(_target(word, state), is_set if field(word, 24, 24) else bits.negate(is_set))


def _to_register(word: int, state: State) -> Step:
    to = state.read(rn(word))
    if field(word, 22, 21) == 1:  # BLR
        state.write(30, state.pc + 4)
    return Goes(to)


INSTRUCTIONS = (
    Instruction("B", 0xFC00_0000, 0x1400_0000, _b),
    Instruction("BL", 0xFC00_0000, 0x9400_0000, _bl),
    Instruction("B.cond", 0xFF00_0010, 0x5400_0000, _conditional),
    Instruction("CBZ, CBNZ", 0x7E00_0000, 0x3400_0000, _compare),
    Instruction("TBZ, TBNZ", 0x7E00_0000, 0x3600_0000, _test),
    Instruction(
        "BR, BLR, RET", 0xFF9F_FC1F, 0xD61F_0000, _to_register, lambda word: field(word, 22, 21) != 3
    ),
)
