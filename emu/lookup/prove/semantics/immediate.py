"""Data processing with an immediate: addresses, sums, bit masks, wide moves, bit fields.

Source: Arm DDI 0487, C4.1.92.
"""

from __future__ import annotations

from emu.lookup.prove import bits
from emu.lookup.prove.flags import of_result
from emu.lookup.prove.semantics.instruction import Instruction, add_or_subtract, field, rd, rm, rn, width_of
from emu.lookup.prove.state import State


def _adr(word: int, state: State) -> None:
    offset = field(word, 23, 5) << 2 | field(word, 30, 29)
    offset -= offset >> 20 << 21
    base = state.pc
    if word >> 31:
        base, offset = base & -4096, offset << 12
    state.write(rd(word), base + offset & bits.mask(64))


def _sum(word: int, state: State) -> None:
    number = field(word, 21, 10) << 12 * field(word, 22, 22)
    add_or_subtract(word, state, state.read_sp(rn(word), width_of(word)), number, to_sp=True)


def bit_mask(word: int) -> int | None:
    """Return the immediate of a logical instruction, or None when it is reserved (DecodeBitMasks)."""
    width, n = width_of(word), field(word, 22, 22)
    rotation, ones = field(word, 21, 16), field(word, 15, 10)
    length = (n << 6 | ones ^ 63).bit_length() - 1
    if length < 1 or (width == 32 and n):
        return None
    size = 1 << length
    ones, rotation = ones & size - 1, rotation & size - 1
    if ones == size - 1:
        return None
    element = bits.rotate((1 << ones + 1) - 1, rotation, size)
    return sum(element << at for at in range(0, width, size))


def _logical(word: int, state: State) -> None:
    width, number, kind = width_of(word), bit_mask(word), field(word, 30, 29)
    assert number is not None
    a = state.read(rn(word), width)
    result = (bits.both, bits.either, bits.differ, bits.both)[kind](a, number, width)
    if kind == 3:
        state.flags = of_result(result, width)
        state.write(rd(word), result, width)
    else:
        state.write_sp(rd(word), result, width)


def _wide(word: int, state: State) -> None:
    width, at, number = width_of(word), 16 * field(word, 22, 21), field(word, 20, 5)
    kind = field(word, 30, 29)
    if kind == 3:
        kept = bits.both(state.read(rd(word), width), bits.mask(width) ^ 0xFFFF << at, width)
        state.write(rd(word), bits.either(kept, number << at, width), width)
    else:
        state.write(rd(word), number << at ^ (0 if kind else bits.mask(width)), width)


def _wide_allocated(word: int) -> bool:
    return field(word, 30, 29) != 1 and (bool(word >> 31) or not field(word, 22, 22))


def _bit_field(word: int, state: State) -> None:
    width, first, last = width_of(word), field(word, 21, 16), field(word, 15, 10)
    source, kind = state.read(rn(word), width), field(word, 30, 29)
    if last >= first:
        size, at = last - first + 1, 0
        taken = bits.part(source, last, first)
    else:
        size, at = last + 1, width - first
        taken = bits.part(source, last, 0)
    wide = (bits.widen_signed if kind == 0 else bits.widen)(taken, size, width)
    result = bits.left(wide, at, width) if at else wide
    if kind == 1:
        hole = bits.mask(width) ^ bits.mask(size) << at
        result = bits.either(bits.both(state.read(rd(word), width), hole, width), result, width)
    state.write(rd(word), result, width)


def _bit_field_allocated(word: int) -> bool:
    wide = word >> 31
    fits = wide or not word & (1 << 21 | 1 << 15)
    return field(word, 30, 29) != 3 and field(word, 22, 22) == wide and bool(fits)


def _extract(word: int, state: State) -> None:
    width, low = width_of(word), field(word, 15, 10)
    high, rest = state.read(rn(word), width), state.read(rm(word), width)
    if low:
        result = bits.either(bits.right(rest, low, width), bits.left(high, width - low, width), width)
    else:
        result = rest
    state.write(rd(word), result, width)


def _extract_allocated(word: int) -> bool:
    wide = word >> 31
    return field(word, 22, 22) == wide and bool(wide or not word & 1 << 15)


INSTRUCTIONS = (
    Instruction("ADR, ADRP", 0x1F00_0000, 0x1000_0000, _adr),
    Instruction("ADD, SUB (immediate)", 0x1F80_0000, 0x1100_0000, _sum),
    Instruction(
        "AND, ORR, EOR (immediate)",
        0x1F80_0000,
        0x1200_0000,
        _logical,
        lambda word: bit_mask(word) is not None,
    ),
    Instruction("MOVN, MOVZ, MOVK", 0x1F80_0000, 0x1280_0000, _wide, _wide_allocated),
    Instruction("SBFM, BFM, UBFM", 0x1F80_0000, 0x1300_0000, _bit_field, _bit_field_allocated),
    Instruction("EXTR", 0x7FA0_0000, 0x1380_0000, _extract, _extract_allocated),
)
