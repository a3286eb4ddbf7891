"""What a look-up compares, as met at run time, and the MPIDR_EL1 for which two operands are equal.

The look-up is run an instruction at a time, and the operands of its compares are noted. Then it is run again
with each bit of MPIDR_EL1 flipped. Where an operand is made of these bits by moves, masks, shifts, rotations
and exclusive-or, the equation is linear over bits; where it is made by adding and multiplying, over integers;
where it is a remainder, over integers for a stretch of them; bits of a product are an interval of it
(:mod:`emu.fuzz.products`).
Each is solved, whatever the constant was made of. What it goes on to from there is looked at likewise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.cpu.pe import Registers
from emu.fuzz import products
from emu.fuzz.built_lookup import BuiltLookup
from emu.fuzz.products import Product, product_of
from emu.lookup.case import Question
from emu.lookup.tables import DoesNotFit

_STEPS_MAX = 300  # instructions of a run that are looked at
_TURNS_MAX = 2  # times that one instruction is looked at in a run
_PRODUCTS_MAX = 4  # of a run
_RUNS_MAX = 12  # MPIDRs from which bits are flipped
_BASES = (RES1 | 0x5A_0033_CC69, RES1)
_BITS = range(64)
_NO_REGISTERS = (0,) * 32
_OTHERS = tuple(bit for bit in _BITS if not MPIDR_HWID_BITMASK >> bit & 1)  # bits of no field
# All of them, and the half of them with each bit of the place among them set: any two are apart in one.
_TOGETHER = tuple(
    sum(1 << bit for place, bit in enumerate(_OTHERS) if place >> half & 1)
    if half >= 0
    else sum(1 << bit for bit in _OTHERS)
    for half in range(-1, 5)
)

_CLEAR, _SET = -1, -2  # a tested bit that is to be so
Site = tuple[int, int]  # PA of a compare, and how many times it was met before in the run; or one of these
Operands = tuple[int, int, int]  # left, right, and the bits that count (u64 each)


class _Met(NamedTuple):
    # What is met in one run, by place and turn.
    compares: dict[Site, Operands]
    products: dict[Site, Product]


class Compared(NamedTuple):
    """What was learned.

    :ivar mpidrs: MPIDR_EL1 values (u64) for which operands are equal that were not
    :ivar values: operands that do not depend on MPIDR_EL1
    """

    mpidrs: tuple[int, ...]
    values: tuple[int, ...]


def compared(built: BuiltLookup) -> Compared:
    """Run a look-up with empty tables, and learn from its compares.

    Nothing, where the tables cannot be empty.
    """
    found: dict[int, None] = {}
    constant: dict[int, None] = {}
    waiting, seen = deque(_BASES), set(_BASES)
    solved: set[tuple[int, int]] = set()
    runs = 0
    try:
        while waiting and runs < _RUNS_MAX:
            base = waiting.popleft()
            runs += 1
            at, flipped = _with_flips(built, base)
            for site, operands in at.compares.items():
                rows = [row.compares.get(site) for row in flipped]
                for side in (0, 1):
                    if all(row is None or row[side] == operands[side] for row in rows):
                        constant[operands[side]] = None
                for mpidr in (
                    *_solutions(base, operands, rows),
                    *_by_products(base, operands, rows, at, flipped),
                ):
                    key = site[0], mpidr & MPIDR_HWID_BITMASK
                    if mpidr in seen or key in solved:
                        continue
                    solved.add(key)
                    now = _operands(built, mpidr).compares.get(site)
                    if now is not None and (now[0] ^ now[1]) & now[2] == 0:
                        seen.add(mpidr)
                        found[mpidr] = None
                        waiting.append(mpidr)
    except DoesNotFit:
        pass
    return Compared(tuple(found), tuple(constant))


def _with_flips(built: BuiltLookup, mpidr: int) -> tuple[_Met, list[_Met]]:
    # What is compared for this MPIDR, and for it with each bit flipped: those of no field one by one where
    # some of them together make a difference.
    now = _operands(built, mpidr)
    alike = all(_operands(built, mpidr ^ bits) == now for bits in _TOGETHER)
    bits = [0 if alike and bit in _OTHERS else 1 << bit for bit in _BITS]
    return now, [_operands(built, mpidr ^ bit) if bit else now for bit in bits]


def _operands(built: BuiltLookup, mpidr: int) -> _Met:
    # Of each compare that is met, and what is multiplied.
    found: dict[Site, Operands] = {}
    multiplied: dict[Site, Product] = {}
    met: dict[int, int] = {}
    question = Question(built.whole(()), mpidr)
    for pa, word, registers in built.single.walk(question, _STEPS_MAX, _is_wanted):
        product = product_of(word, registers)
        if product is not None:
            if len(multiplied) < _PRODUCTS_MAX:
                multiplied.setdefault((pa, 0), product)
            continue
        if word & 0x7E00_0000 == 0x3600_0000:  # TBZ, TBNZ: either way
            bit = 1 << (word >> 19 & 31 | word >> 26 & 32)
            left = registers[word & 31] & bit if word & 31 < 31 else 0
            found[pa, _CLEAR], found[pa, _SET] = (left, 0, bit), (left, bit, bit)
            continue
        operands = _of_word(word, registers)
        if operands is not None:
            turn = met.get(pa, 0)
            met[pa] = turn + 1
            if turn < _TURNS_MAX:
                found[pa, turn] = operands
    return _Met(found, multiplied)


@lru_cache(maxsize=1 << 12)
def _is_wanted(word: int) -> bool:
    tests_bit = word & 0x7E00_0000 == 0x3600_0000  # TBZ, TBNZ
    multiplies = product_of(word, _NO_REGISTERS) is not None
    return tests_bit or multiplies or _of_word(word, _NO_REGISTERS) is not None


def _of_word(word: int, registers: Registers | Sequence[int]) -> Operands | None:
    # Source: Arm DDI 0487, C4.1 (encodings).
    width = 64 if word >> 31 else 32
    ones = (1 << width) - 1
    n, m = word >> 5 & 31, word >> 16 & 31
    left = registers[n] if n < 31 else 0
    right = registers[m] if m < 31 else 0
    if word & 0x7F80_0000 == 0x7100_0000:  # SUBS (immediate)
        right = (word >> 10 & 0xFFF) << 12 * (word >> 22 & 1)
    elif word & 0x7F80_0000 == 0x3100_0000:  # ADDS (immediate)
        right = -((word >> 10 & 0xFFF) << 12 * (word >> 22 & 1))
    elif word & 0x7F20_0000 == 0x6B00_0000:  # SUBS (shifted register)
        right = _shifted(right & ones, word >> 22 & 3, word >> 10 & 63, width)
    elif word & 0x7F20_0000 == 0x2B00_0000:  # ADDS (shifted register)
        right = -_shifted(right & ones, word >> 22 & 3, word >> 10 & 63, width)
    elif word & 0x7FE0_0000 == 0x6B20_0000:  # SUBS (extended register)
        right = _extended(right, word >> 13 & 7) << (word >> 10 & 7)
    elif word & 0x7FE0_0C10 == 0x7A40_0800:  # CCMP (immediate)
        right = m
    elif word & 0x7FE0_0C10 == 0x7A40_0000:  # CCMP (register)
        pass
    elif word & 0x7E00_0000 == 0x3400_0000:  # CBZ, CBNZ
        left, right = registers[word & 31] if word & 31 < 31 else 0, 0
    else:
        return None
    return left & ones, right & ones, ones


def _shifted(value: int, kind: int, by: int, width: int) -> int:
    ones = (1 << width) - 1
    if kind == 0:
        return value << by & ones
    if kind == 1:
        return value >> by
    if kind == 2:
        return (value - ((value >> width - 1) << width) >> by) & ones
    return (value >> by | value << width - by) & ones


def _extended(value: int, option: int) -> int:
    width = 8 << (option & 3)
    value &= (1 << width) - 1
    return value - ((value >> width - 1) << width) if option & 4 else value


def _solutions(base: int, operands: Operands, flipped: Sequence[Operands | None]) -> Iterator[int]:
    left, right, counted = operands
    wanted = (left ^ right) & counted
    columns = [None if row is None else (row[0] ^ row[1]) & counted ^ wanted for row in flipped]
    if not any(columns) or not wanted:
        return
    flips = _over_bits([column or 0 for column in columns], wanted)
    if flips is not None:
        yield base ^ flips
    added = _over_integers(base, operands, flipped)
    if added is not None:
        yield added
    near = _by_steps(base, operands, flipped)
    if near is not None:
        yield near


def _by_products(
    base: int, operands: Operands, rows: Sequence[Operands | None], at: _Met, flipped: Sequence[_Met]
) -> Iterator[int]:
    for site, product in at.products.items():
        there = [run.products.get(site) for run in flipped]
        if any(each is not None and each != product for each in there):
            yield from products.solutions(base, operands, rows, product, there)


def _over_bits(columns: Sequence[int], wanted: int) -> int | None:
    # Which columns have ``wanted`` for their exclusive-or, as bits; None: no choice of them has.
    rows: list[tuple[int, int]] = []  # value, and which columns make it; each has its own top bit
    for place, column in enumerate(columns):
        value, made = column, 1 << place
        for other, how in rows:
            if value ^ other < value:
                value, made = value ^ other, made ^ how
        if value:
            rows.append((value, made))
            rows.sort(reverse=True)
    flips = 0
    for value, made in rows:
        if wanted ^ value < wanted:
            wanted, flips = wanted ^ value, flips ^ made
    return flips if wanted == 0 else None


def _by_steps(base: int, operands: Operands, flipped: Sequence[Operands | None]) -> int | None:
    # As if each value of the lowest bit on which left - right depends made the same difference: so it is of a
    # remainder, as far as the next multiple of its divisor.
    modulus = operands[2] + 1
    difference = _signed(operands[0] - operands[1], modulus)
    for bit, row in enumerate(flipped):
        step = 0 if row is None else _signed(row[0] - row[1] - difference, modulus)
        if step:
            step = -step if base >> bit & 1 else step
            value = base - (difference // step << bit)
            fits = not difference % step and not (base ^ value) & ~MPIDR_HWID_BITMASK
            return value if fits else None
    return None


def _signed(value: int, modulus: int) -> int:
    value %= modulus
    return value - modulus if value >= modulus >> 1 else value


def _over_integers(base: int, operands: Operands, flipped: Sequence[Operands | None]) -> int | None:
    # Where left - right is K * field + C modulo the width, for the bits of MPIDR_EL1 on which it depends.
    modulus = operands[2] + 1
    if modulus & modulus - 1 or modulus < 1 << 32:
        return None
    difference = operands[0] - operands[1]
    low, factor, field = -1, 0, 0
    for bit, row in enumerate(flipped):
        step = 0 if row is None else row[0] - row[1] - difference
        step = (-step if base >> bit & 1 else step) % modulus
        if not step:
            continue
        if low < 0:
            low, factor = bit, step
        if step != (factor << bit - low) % modulus:
            return None
        field |= 1 << bit
    even = factor & -factor
    if low < 0 or difference % even:
        return None
    modulus //= even
    added = -(difference // even) * pow(factor // even, -1, modulus)
    value = ((base & field) >> low) + added
    value = value % modulus << low
    return None if value & ~field else base & ~field | value
