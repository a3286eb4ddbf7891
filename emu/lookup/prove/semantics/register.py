"""Data processing of registers: logic, sums, shifts, multiplication, division, conditional selection.

Source: Arm DDI 0487, C4.1.95.
"""

from __future__ import annotations

import z3

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Value
from emu.lookup.prove.flags import Subtracted, added, chosen, condition, of_number, of_result
from emu.lookup.prove.semantics.instruction import (
    Instruction,
    add_or_subtract,
    field,
    ra,
    rd,
    rm,
    rn,
    width_of,
)
from emu.lookup.prove.state import State

_SHIFTS = (bits.left, bits.right, bits.signed_right, bits.rotate)


def _shifted(word: int, state: State) -> Value:
    width, by = width_of(word), field(word, 15, 10)
    value = state.read(rm(word), width)
    return _SHIFTS[field(word, 23, 22)](value, by, width) if by else value


def _amount_fits(word: int) -> bool:
    return bool(word >> 31) or not word & 1 << 15


def _logical(word: int, state: State) -> None:
    width, kind = width_of(word), field(word, 30, 29)
    a, b = state.read(rn(word), width), _shifted(word, state)
    if field(word, 21, 21):
        b = bits.invert(b, width)
    result = (bits.both, bits.either, bits.differ, bits.both)[kind](a, b, width)
    if kind == 3:
        state.flags = of_result(result, width)
    state.write(rd(word), result, width)


def _sum_shifted(word: int, state: State) -> None:
    width = width_of(word)
    add_or_subtract(word, state, state.read(rn(word), width), _shifted(word, state), to_sp=False)


def _sum_shifted_allocated(word: int) -> bool:
    return field(word, 23, 22) != 3 and _amount_fits(word)


def extended(value: Value, option: int, width: int) -> Value:
    """Return X (64 bits) extended as ``option`` says: UXTB to SXTX."""
    size = min(8 << (option & 3), width)
    taken = bits.part(value, size - 1, 0)
    return (bits.widen_signed if option & 4 else bits.widen)(taken, size, width)


def _sum_extended(word: int, state: State) -> None:
    width, by = width_of(word), field(word, 12, 10)
    b = extended(state.read(rm(word)), field(word, 15, 13), width)
    b = bits.left(b, by, width) if by else b
    add_or_subtract(word, state, state.read_sp(rn(word), width), b, to_sp=True)


def _with_carry(word: int, state: State) -> None:
    width = width_of(word)
    a, b = state.read(rn(word), width), state.read(rm(word), width)
    if field(word, 30, 30):
        b = bits.invert(b, width)
    result, flags = added(a, b, state.flags.nzcv[2], width)
    if field(word, 29, 29):
        state.flags = flags
    state.write(rd(word), result, width)


def _compare_if(word: int, state: State) -> None:
    width = width_of(word)
    a = state.read(rn(word), width)
    b: Value = rm(word) if field(word, 11, 11) else state.read(rm(word), width)
    holds = condition(state.flags, field(word, 15, 12))
    flags = Subtracted(a, b, width) if field(word, 30, 30) else added(a, b, False, width)[1]
    state.flags = chosen(holds, flags, of_number(field(word, 3, 0)))


def _select(word: int, state: State) -> None:
    width = width_of(word)
    a, b = state.read(rn(word), width), state.read(rm(word), width)
    if field(word, 30, 30):
        b = bits.invert(b, width)
    if field(word, 10, 10):
        b = bits.add(b, 1, width)
    state.write(rd(word), bits.choose(condition(state.flags, field(word, 15, 12)), a, b, width), width)


def _pieces(value: Value, width: int, size: int) -> list[Value]:
    # The lowest first.
    return [bits.part(value, at + size - 1, at) for at in range(0, width, size)]


def _one_source(word: int, state: State) -> None:
    width, kind = width_of(word), field(word, 15, 10)
    value = state.read(rn(word), width)
    if kind == 0:  # RBIT
        result = bits.join(_pieces(value, width, 1)[::-1], 1)
    elif kind in (1, 2, 3):  # REV16, REV32 or REV of W, REV
        size = min(8 << kind, width)
        turned = [bits.join(_pieces(each, size, 8)[::-1], 8) for each in _pieces(value, width, size)]
        result = bits.join(turned, size)
    else:  # CLZ, CLS
        if kind == 5:
            high = bits.signed_right(value, 1, width)
            value = bits.either(bits.left(bits.differ(value, high, width), 1, width), 1, width)
        result = _leading_zeros(value, width)
    state.write(rd(word), result, width)


def _leading_zeros(value: Value, width: int) -> Value:
    if isinstance(value, int):
        return width - value.bit_length()
    result: Value = width
    for number in range(width):
        result = bits.choose(bits.bit(value, number), width - 1 - number, result, width)
    return result


def _one_source_allocated(word: int) -> bool:
    kind = field(word, 15, 10)
    return kind < 6 and not field(word, 20, 16) and (bool(word >> 31) or kind != 3)


def _two_sources(word: int, state: State) -> None:
    width, kind = width_of(word), field(word, 15, 10)
    a, b = state.read(rn(word), width), state.read(rm(word), width)
    if kind >= 8:
        result = _SHIFTS[kind - 8](a, bits.both(b, width - 1, width), width)
    else:
        result = _divided(a, b, width, is_signed=kind == 3)
    state.write(rd(word), result, width)


def _divided(a: Value, b: Value, width: int, *, is_signed: bool) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            return 0
        if not is_signed:
            return a // b
        one, two = bits.signed(a, width), bits.signed(b, width)
        return (abs(one) // abs(two) * (1 if one * two >= 0 else -1)) & bits.mask(width)
    one, two = bits.bv(a, width), bits.bv(b, width)
    return bits.choose(
        bits.equal(b, 0, width), 0, bits.simple(one / two if is_signed else z3.UDiv(one, two)), width
    )


def _three_sources(word: int, state: State) -> None:
    width, kind = width_of(word), field(word, 23, 21)
    if kind == 0:
        product = bits.mul(state.read(rn(word), width), state.read(rm(word), width), width)
    elif kind in (1, 5):
        widen = bits.widen_signed if kind == 1 else bits.widen
        product = bits.mul(
            widen(state.read(rn(word), 32), 32, 64), widen(state.read(rm(word), 32), 32, 64), 64
        )
    else:
        widen = bits.widen_signed if kind == 2 else bits.widen
        whole = bits.mul(widen(state.read(rn(word)), 64, 128), widen(state.read(rm(word)), 64, 128), 128)
        state.write(rd(word), bits.part(whole, 127, 64))
        return
    combine = bits.sub if field(word, 15, 15) else bits.add
    state.write(rd(word), combine(state.read(ra(word), width), product, width), width)


def _three_sources_allocated(word: int) -> bool:
    kind, negative = field(word, 23, 21), field(word, 15, 15)
    if kind == 0:
        return True
    return bool(word >> 31) and (kind in (1, 5) or (kind in (2, 6) and not negative and ra(word) == 31))


INSTRUCTIONS = (
    Instruction("AND, BIC, ORR, ORN, EOR, EON (register)", 0x1F00_0000, 0x0A00_0000, _logical, _amount_fits),
    Instruction(
        "ADD, SUB (shifted register)", 0x1F20_0000, 0x0B00_0000, _sum_shifted, _sum_shifted_allocated
    ),
    Instruction(
        "ADD, SUB (extended register)",
        0x1FE0_0000,
        0x0B20_0000,
        _sum_extended,
        lambda word: field(word, 12, 10) <= 4,
    ),
    Instruction("ADC, SBC", 0x1FE0_FC00, 0x1A00_0000, _with_carry),
    Instruction("CCMN, CCMP", 0x3FE0_0410, 0x3A40_0000, _compare_if),
    Instruction("CSEL, CSINC, CSINV, CSNEG", 0x3FE0_0800, 0x1A80_0000, _select),
    Instruction("RBIT, REV, CLZ, CLS", 0x7FE0_0000, 0x5AC0_0000, _one_source, _one_source_allocated),
    Instruction(
        "UDIV, SDIV, LSLV, LSRV, ASRV, RORV",
        0x7FE0_0000,
        0x1AC0_0000,
        _two_sources,
        lambda word: field(word, 15, 10) in (2, 3, 8, 9, 10, 11),
    ),
    Instruction(
        "MADD, MSUB, SMADDL, UMADDL, SMULH, UMULH",
        0x7F00_0000,
        0x1B00_0000,
        _three_sources,
        _three_sources_allocated,
    ),
)
