"""Where an A64 load or store goes: its virtual address, from the word and the registers before it.

Source: Arm DDI 0487, C4.1.88 "Loads and stores".
"""

from __future__ import annotations

from collections.abc import Sequence

_ALL = 2**64 - 1


def _signed(value: int, bits: int) -> int:
    return value - (value >> bits - 1 << bits)


def access_va(word: int, pc: int, x: Sequence[int]) -> int:
    """Return the VA (u64) of the first byte that a load or store accesses.

    :param word: a load or store (u32), exclusives and pairs among them
    :param pc: VA of the word
    :param x: X0..X30, and SP at index 31 (u64 each)
    """
    group, base = word >> 28 & 3, x[word >> 5 & 31]
    if group == 0:  # exclusives, ordered, LDAR; SIMD structures: the base alone
        return base
    if group == 1:
        if not word >> 24 & 1:  # literal
            return pc + 4 * _signed(word >> 5 & 0x7FFFF, 19) & _ALL
        return base + _signed(word >> 12 & 0x1FF, 9) & _ALL  # LDAPUR, STLUR
    if group == 2:
        return base + _pair_offset(word) & _ALL
    return base + _single_offset(word, x) & _ALL


def _pair_offset(word: int) -> int:
    # LDP, STP and their like: imm7 scaled by the size of one register; post-indexed: the base alone.
    if word >> 23 & 3 == 1:
        return 0
    opc = word >> 30
    scale = 2 + opc if word >> 26 & 1 else 2 + (opc >> 1)
    return _signed(word >> 15 & 0x7F, 7) << scale


def _single_offset(word: int, x: Sequence[int]) -> int:
    # One register: unsigned, unscaled, indexed, or register offset.
    scale = 4 if word >> 26 & 1 and word >> 23 & 1 else word >> 30
    if word >> 24 & 1:
        return (word >> 10 & 0xFFF) << scale
    mode = word >> 10 & 3
    if not word >> 21 & 1:
        return 0 if mode == 1 else _signed(word >> 12 & 0x1FF, 9)
    if mode != 2:  # atomics
        return 0
    number, option = word >> 16 & 31, word >> 13 & 7
    index = x[number] if number != 31 else 0
    if not option & 1:
        index &= 0xFFFF_FFFF
        if option == 6:  # SXTW
            index = _signed(index, 32)
    return index << scale if word >> 12 & 1 else index
