"""MPIDR_EL1 for which bits of a product are a number: a multiplicative hash, of which the top bits count.

A product is a number times a field of MPIDR_EL1 plus another number, modulo a power of two; a compare has
some of its bits, from a shift. Flipped bits show all of these numbers. The products with the bits that are
wanted are an interval, so the least value of the field with one is found by Euclid's algorithm, however rare
it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.cpu.pe import Registers

_FIELD = range(24)  # bits of MPIDR_EL1 without a gap
_OTHERS_MAX = 8  # bits beside them that change the product too: all their values are gone through
_BITS_MIN = 8  # of a product, in a compare: fewer of them are met by chance
_SOLUTIONS_MAX = 2  # of one compare and product


class Product(NamedTuple):
    """A product as it was met.

    :ivar value: all bits of it that an instruction may leave in a register
    :ivar width: how many these are: 32, 64; 128 of UMULH, which leaves the upper half
    """

    value: int
    width: int


def product_of(word: int, registers: Registers | Sequence[int]) -> Product | None:
    """Return what the instruction ``word`` multiplies to; None: it does not multiply."""
    # Source: Arm DDI 0487, C4.1.95.12 (data processing, three sources).
    if word & 0x7F00_0000 != 0x1B00_0000:
        return None
    kind, width = word >> 21 & 7, 64 if word >> 31 else 32
    n, m, a = (
        registers[number] if number < 31 else 0
        for number in (word >> 5 & 31, word >> 16 & 31, word >> 10 & 31)
    )
    if kind == 6:
        return Product(n * m, 128)
    if kind == 5:
        n, m = n & 0xFFFF_FFFF, m & 0xFFFF_FFFF
    elif kind != 0:
        return None
    found = a - n * m if word >> 15 & 1 else a + n * m
    return Product(found % (1 << width), width)


def solutions(
    base: int,
    operands: Sequence[int],
    flipped: Sequence[Sequence[int] | None],
    now: Product,
    rows: Sequence[Product | None],
) -> Iterator[int]:
    """Yield MPIDR_EL1 values for which both sides of a compare are equal, where one is bits of the product.

    :param base: MPIDR_EL1 of the run
    :param operands: both sides in it
    :param flipped: and in those with each bit of MPIDR_EL1 flipped; None: it was not met
    :param now: the product in the run
    :param rows: and in the others
    """
    for side in (0, 1):
        others = [
            (row[side], row[1 - side], there)
            for row, there in zip(flipped, rows, strict=True)
            if row and there
        ]
        if any(wanted != operands[1 - side] for _, wanted, _ in others):
            continue
        seen = [(operands[side], now.value), *((value, there.value) for value, _, there in others)]
        if len({value for value, _ in seen}) < 2:
            continue
        for shift, count in _bits_of(seen, now.width):
            yield from islice(_with_bits(base, now, rows, shift, count, operands[1 - side]), _SOLUTIONS_MAX)


def _bits_of(seen: Sequence[tuple[int, int]], width: int) -> Iterator[tuple[int, int]]:
    # Shifts, and how many bits of the product each number is from there.
    for shift in range(width):
        differ = 1 << width - shift
        for value, whole in seen:
            differ |= value ^ whole >> shift
        count = (differ & -differ).bit_length() - 1
        if count >= _BITS_MIN and all(not value >> count for value, _ in seen):
            yield shift, count


def _with_bits(
    base: int, now: Product, rows: Sequence[Product | None], shift: int, count: int, wanted: int
) -> Iterator[int]:
    modulus = 1 << shift + count
    if wanted >> count:
        return
    steps = {}
    for bit, row in enumerate(rows):
        step = 0 if row is None else (row.value - now.value) % modulus
        if step:
            steps[bit] = -step % modulus if base >> bit & 1 else step
    low = min(steps, default=64)
    if low not in _FIELD:
        return
    factor, high = steps[low], low
    while high in _FIELD and steps.get(high, 0) == (factor << high - low) % modulus:
        high += 1
    field = (1 << high) - (1 << low)
    others = [bit for bit in steps if not field >> bit & 1]
    if len(others) > _OTHERS_MAX or any(not MPIDR_HWID_BITMASK >> bit & 1 for bit in others):
        return
    start = now.value - factor * ((base & field) >> low)
    for chosen in product((0, 1), repeat=len(others)):
        flips = sum(flip << bit for flip, bit in zip(chosen, others, strict=True))
        added = sum(-steps[bit] if base >> bit & 1 else steps[bit] for bit in others if flips >> bit & 1)
        first = ((wanted << shift) - start - added) % modulus
        last = first + (1 << shift) - 1
        value = 0 if last >= modulus else least_multiple(factor, modulus, first, last)
        if value is not None and value << low <= field:
            yield (base ^ flips) & ~field | value << low


def least_multiple(factor: int, modulus: int, first: int, last: int) -> int | None:
    """Return the least n for which ``factor * n % modulus`` is in first..last; None: there is none.

    :param first: from 0 to ``last``, which is less than ``modulus``
    """
    factor %= modulus
    if first == 0:
        return 0
    if factor == 0:
        return None
    if 2 * factor > modulus:
        return least_multiple(modulus - factor, modulus, modulus - last, modulus - first)
    least = -(-first // factor)
    if least * factor <= last:
        return least
    times = least_multiple(modulus % factor, factor, -last % factor, -first % factor)
    return None if times is None else -(-(first + modulus * times) // factor)
