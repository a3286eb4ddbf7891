"""The virtual address and the registers of an A64 load or store, from the word and the registers before it.

Source: Arm DDI 0487, C4.1.88 "Loads and stores".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_ALL = 2**64 - 1


def sign_extended(value: int, bits: int) -> int:
    """Return a number of so many bits as a signed one."""
    return value - (value >> bits - 1 << bits)


def access_va(word: int, pc: int, x: Sequence[int]) -> int:
    """Return the VA (u64) of the first byte that a load or store accesses.

    :param word: a load or store (u32), which may be an exclusive or a pair
    :param pc: VA of the word
    :param x: X0..X30, and SP at index 31 (u64 each)
    """
    group, base = word >> 28 & 3, x[word >> 5 & 31]
    if group == 0:  # exclusives, ordered, LDAR; SIMD structures: the base alone
        return base
    if group == 1:
        if not word >> 24 & 1:  # literal
            return pc + 4 * sign_extended(word >> 5 & 0x7FFFF, 19) & _ALL
        return base + sign_extended(word >> 12 & 0x1FF, 9) & _ALL  # LDAPUR, STLUR
    if group == 2:
        return base + _pair_offset(word) & _ALL
    return base + _single_offset(word, x) & _ALL


def _pair_offset(word: int) -> int:
    # LDP, STP, LDNP, STNP, LDPSW: imm7 scaled by the size of one register; post-indexed: the base alone.
    if word >> 23 & 3 == 1:
        return 0
    opc = word >> 30
    scale = 2 + opc if word >> 26 & 1 else 2 + (opc >> 1)
    return sign_extended(word >> 15 & 0x7F, 7) << scale


def _single_offset(word: int, x: Sequence[int]) -> int:
    # One register: unsigned, unscaled, indexed, or register offset.
    scale = 4 if word >> 26 & 1 and word >> 23 & 1 else word >> 30
    if word >> 24 & 1:
        return (word >> 10 & 0xFFF) << scale
    mode = word >> 10 & 3
    if not word >> 21 & 1:
        return 0 if mode == 1 else sign_extended(word >> 12 & 0x1FF, 9)
    if mode != 2:  # atomics
        return 0
    number, option = word >> 16 & 31, word >> 13 & 7
    index = x[number] if number != 31 else 0
    if not option & 1:
        index &= 0xFFFF_FFFF
        if option == 6:  # SXTW
            index = sign_extended(index, 32)
    return index << scale if word >> 12 & 1 else index


def writes_back(word: int) -> bool:
    """Tell whether a load or store changes its base register: pre- or post-indexed."""
    group = word >> 28 & 3
    if group == 2:
        return bool(word >> 23 & 1)
    return group == 3 and not word >> 24 & 1 and not word >> 21 & 1 and word >> 10 & 1 == 1


class Transfer(NamedTuple):
    """One access of a load or store; the accesses of one instruction are at consecutive addresses.

    :ivar size: bytes
    :ivar register: number of the register that is loaded or stored; 31 is ZR
    :ivar at: first byte of the register that is accessed: 0, or 8 for the high half of a vector register
    """

    size: int
    is_store: bool
    register: int
    is_vector: bool = False
    at: int = 0


def transfers(word: int) -> tuple[Transfer, ...]:
    """Return the accesses of a load or store from :func:`access_va` on, in order; () when not decoded.

    Decoded: loads and stores of one register and of pairs, general or vector, literals, LDAR and STLR,
    exclusives. Not decoded: unprivileged accesses, atomics, LDAPR, structures, and instructions that Armv8.0
    lacks.
    """
    group = word >> 28 & 3
    if group == 0:
        return _exclusive(word) if not word >> 26 & 1 else ()
    if group == 1:
        return _literal(word) if not word >> 24 & 1 else ()
    if group == 2:
        return _pair(word)
    return _single(word)


def _exclusive(word: int) -> tuple[Transfer, ...]:
    # Exclusives (o2, bit 23, clear), LDAR and STLR.
    if word >> 24 & 0x3F != 0x08:
        return ()
    size, is_store, pair = 1 << (word >> 30), not word >> 22 & 1, word >> 21 & 1
    first, second = word & 31, word >> 10 & 31
    if word >> 23 & 1:
        ordered = word & 0x001F_FC00 == 0x001F_FC00  # Rs, o0 and Rt2 set
        return (Transfer(size, is_store, first),) if ordered and not pair else ()
    if pair:
        if size < 4:
            return ()  # CASP
        return Transfer(size, is_store, first), Transfer(size, is_store, second)
    return (Transfer(size, is_store, first),)


def _vector(size: int, is_store: bool, register: int) -> tuple[Transfer, ...]:
    # 16 bytes are two accesses of 8.
    if size < 16:
        return (Transfer(size, is_store, register, True),)
    return Transfer(8, is_store, register, True), Transfer(8, is_store, register, True, 8)


def _literal(word: int) -> tuple[Transfer, ...]:
    opc, register = word >> 30, word & 31
    if word >> 26 & 1:
        return _vector(4 << opc, False, register) if opc < 3 else ()
    return (Transfer((4, 8, 4)[opc], False, register),) if opc < 3 else ()  # 3: PRFM


def _pair(word: int) -> tuple[Transfer, ...]:
    opc, is_store, first, second = word >> 30, not word >> 22 & 1, word & 31, word >> 10 & 31
    if opc == 3:
        return ()
    if word >> 26 & 1:
        return _vector(4 << opc, is_store, first) + _vector(4 << opc, is_store, second)
    if opc == 1 and (is_store or not word >> 23 & 3):
        return ()  # LDPSW alone is allocated
    size = 8 if opc == 2 else 4
    return Transfer(size, is_store, first), Transfer(size, is_store, second)


def _single(word: int) -> tuple[Transfer, ...]:
    size, opc, register = word >> 30, word >> 22 & 3, word & 31
    if not word >> 24 & 1:
        mode = word >> 10 & 3
        if word >> 21 & 1:
            if mode != 2 or not word >> 14 & 1:  # atomics; register offsets have option<1> set
                return ()
        elif mode == 2:
            return ()  # unprivileged
    if word >> 26 & 1:
        if opc & 2:
            return _vector(16, opc == 2, register) if size == 0 else ()
        return _vector(1 << size, opc == 0, register)
    if opc == 3 and size >= 2 or opc == 2 and size == 3:
        return ()  # unallocated, PRFM
    return (Transfer(1 << size, opc == 0, register),)
