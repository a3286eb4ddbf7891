"""Questions made of the constants in a look-up's own code: what it compares with is what it may be wrong for.

Random questions never meet one hwid of 2^40. Constants that every look-up has are left out: masks of ones,
NR_CPUS, small numbers and addresses. Most look-ups have no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.lookup.constants import code_words
from emu.lookup.target import Target

_SMALL = 16  # numbers up to it say nothing
_VALUES_MAX, _BYTES_MAX, _QUESTIONS_MAX = 8, 6, 4096


def learned_mpidrs(target: Target) -> list[int]:
    """Return MPIDR_EL1 values (u64) that constants of the code make: whole, moved, joined of parts."""
    values = list(dict.fromkeys(_constants(target)))[:_VALUES_MAX]
    if not values:
        return []
    hwids = dict.fromkeys(value & MPIDR_HWID_BITMASK for value in _joined(values))
    return [RES1 | hwid for hwid in islice(hwids, _QUESTIONS_MAX)]


def _joined(values: list[int]) -> Iterator[int]:
    for value in values:
        for step in (0, 1, -1):
            yield value + step
        for by in (8, 16, 32):
            yield value << by
    parts = (0, *values)
    for low, middle, high in product(parts, repeat=3):
        yield low | middle << 16 | high << 32
        yield low | high << 32
    fields = (0, *dict.fromkeys(value & 0xFF for value in values))[: _BYTES_MAX + 1]
    for aff3, aff2, aff1, aff0 in product(fields, repeat=4):
        yield aff3 << 32 | aff2 << 16 | aff1 << 8 | aff0


def _constants(target: Target) -> Iterator[int]:
    # Immediates of compares, logical instructions and moves, and literals.
    usual = {target.nr_cpus, target.nr_cpus - 1, *(placed.count for placed in target.tables)}
    for pa, word in code_words(target):
        for value in _of_word(target, pa, word):
            if (
                value > _SMALL
                and value not in usual
                and not _is_mask(value)
                and not _is_address(target, value)
            ):
                yield value


def _of_word(target: Target, pa: int, word: int) -> Iterator[int]:
    if word & 0x1F80_0000 == 0x1280_0000:  # MOVN, MOVZ, MOVK
        yield word >> 5 & 0xFFFF
    elif word & 0x7F80_001F == 0x7100_001F:  # CMP with a number
        yield (word >> 10 & 0xFFF) << 12 * (word >> 22 & 1)
    elif word & 0x3F00_0000 == 0x1800_0000 and word >> 30 < 2:  # LDR of a literal
        offset = word >> 5 & 0x7FFFF
        at, size = pa + 4 * (offset - (offset >> 18 << 19)), 8 if word >> 30 else 4
        for segment in target.subject.segments:
            if segment.pa <= at and at + size <= segment.pa + len(segment.data):
                yield int.from_bytes(segment.data[at - segment.pa : at - segment.pa + size], "little")


def _is_mask(value: int) -> bool:
    # Ones side by side, or the mask of hwids, or the opposite of one.
    for each in (value, value ^ 2**64 - 1, value ^ 2**32 - 1):
        low = each & -each
        if each in (0, MPIDR_HWID_BITMASK) or each & each + low == 0:
            return True
    return False


def _is_address(target: Target, value: int) -> bool:
    places = [placed.bytes_at for placed in target.tables]
    places += [range(segment.pa, segment.pa + segment.size + 1) for segment in target.subject.segments]
    pa = value - target.subject.va_offset & 2**64 - 1
    return any(value in place or pa in place for place in places)
