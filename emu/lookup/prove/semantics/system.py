"""Hints, barriers, and the few system registers that a look-up reads.

Source: Arm DDI 0487, C4.1.94. Barriers order accesses, and nobody else makes any here: they do nothing.
"""

from __future__ import annotations

from emu.lookup.prove import bits
from emu.lookup.prove.flags import Plain
from emu.lookup.prove.semantics.instruction import Instruction, field, rd
from emu.lookup.prove.state import State, Step, Waits

_NZCV, _DAIF = 0xDA10, 0xDA11
MPIDR_EL1 = (3, 0, 0, 0, 5)


def _hint(word: int, state: State) -> Step:
    number = field(word, 11, 5)
    if number in (2, 3):  # WFE, WFI
        if number == 3 or not state.event:
            return Waits()
        state.event = False
    elif number in (4, 5):  # SEV, SEVL
        state.event = True
    return None


def _hint_known(word: int) -> bool:
    # NOP, YIELD, WFE, WFI, SEV, SEVL, DGH, CSDB, BTI. Pointer authentication and others are left out.
    return field(word, 11, 5) in (0, 1, 2, 3, 4, 5, 6, 20, 32, 34, 36, 38)


def _nothing(word: int, state: State) -> None:
    del word, state


def _mrs(word: int, state: State) -> None:
    encoding = (
        2 + field(word, 19, 19),
        field(word, 18, 16),
        field(word, 15, 12),
        field(word, 11, 8),
        field(word, 7, 5),
    )
    if encoding == MPIDR_EL1:
        value = state.around.register(encoding)
        assert value is not None
    elif field(word, 20, 5) == _NZCV:
        negative, zero, carry, overflow = state.flags.nzcv
        ones = [bits.choose(each, 1, 0, 1) for each in (overflow, carry, zero, negative)]
        value = bits.left(bits.widen(bits.join(ones, 1), 4, 64), 28, 64)
    else:
        value = state.daif
    state.write(rd(word), value)


def _mrs_known(word: int) -> bool:
    return field(word, 20, 5) in (0xC005, _NZCV, _DAIF)


def _msr_nzcv(word: int, state: State) -> None:
    value = state.read(rd(word))
    negative, zero, carry, overflow = (bits.bit(value, 28 + number) for number in (3, 2, 1, 0))
    state.flags = Plain((negative, zero, carry, overflow))


def _msr_daif(word: int, state: State) -> None:
    state.daif = bits.both(state.read(rd(word)), 0x3C0, 64)


def _msr_daif_immediate(word: int, state: State) -> None:
    number = field(word, 11, 8) << 6
    if field(word, 5, 5):  # DAIFClr
        state.daif = bits.both(state.daif, bits.mask(64) ^ number, 64)
    else:
        state.daif = bits.either(state.daif, number, 64)


INSTRUCTIONS = (
    Instruction(
        "NOP, YIELD, WFE, WFI, SEV, SEVL, DGH, CSDB, BTI", 0xFFFF_F01F, 0xD503_201F, _hint, _hint_known
    ),
    Instruction(
        "DSB, DMB, ISB",
        0xFFFF_F01F,
        0xD503_301F,
        _nothing,
        lambda word: field(word, 7, 5) in (4, 5, 6),
    ),
    Instruction("MRS of MPIDR_EL1, NZCV, DAIF", 0xFFE0_0000, 0xD520_0000, _mrs, _mrs_known),
    Instruction("MSR NZCV", 0xFFFF_FFE0, 0xD51B_4200, _msr_nzcv),
    Instruction("MSR DAIF", 0xFFFF_FFE0, 0xD51B_4220, _msr_daif),
    Instruction("MSR DAIFSet, DAIFClr", 0xFFFF_F0DF, 0xD503_40DF, _msr_daif_immediate),
)
