"""Constants of a subject: bytes of its image that nobody writes and that are no instruction of the look-up.

A look-up may read them, unless its contract forbids that: a literal, a global offset table, ``.rodata``.
What is beside a table of the image is none: to read it is to read over the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from emu.arch import a64
from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.lookup.target import Target

_SMALL = 16  # numbers up to it say nothing
_DECIDED = re.compile(r"^[ \t]*[.#][ \t]*(?:if|elseif|elif|rept)\b.*\bNR_CPUS\b.*$", re.MULTILINE)
_NUMBER = re.compile(r"\b(?:0x[0-9a-fA-F]+|[1-9][0-9]*)\b")
BESIDE = 64  # bytes before and behind a table that count as read by mistake


class Constants:
    """The constants of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._code: frozenset[int] | None = None  # PAs of instructions; found when first asked

    def has(self, pa: int, size: int) -> bool:
        """Tell whether all of ``size`` bytes at ``pa`` are constants that the contract lets it read."""
        target = self._target
        if not target.contract.constants:
            return False
        if not any(each.start <= pa and pa + size <= each.stop for each in target.subject.constants):
            return False
        for placed in target.tables:
            if pa < placed.bytes_at.stop + BESIDE and placed.pa - BESIDE < pa + size:
                return False
        if self._code is None:
            self._code = frozenset(pa for pa, _word in code_words(target))
        return not any(word in self._code for word in range(pa & -4, pa + size, 4))


def code_words(target: Target, others: Iterable[int] = ()) -> Iterator[tuple[int, int]]:
    """Yield PA and word of the instructions from the entry on, by PA.

    Both ways of each branch, up to the exits and what leaves by register.

    :param others: PAs that a branch to a register goes to
    """
    found: dict[int, int] = {}
    ends = {target.found_pa, target.missing_pa}
    todo = [target.entry_pa, *others]
    while todo:
        pa = todo.pop()
        word = None if pa in found or pa in ends else _word(target, pa)
        if word is None:
            continue
        found[pa] = word
        to = a64.branch_target(word, pa)
        if to is None and word >> 26 == 0x25:  # BL
            to = a64.branch_target(word & 0x7FFF_FFFF, pa)
        if to is not None:
            todo.append(to)
        if not _never_goes_on(word):
            todo.append(pa + 4)
    yield from sorted(found.items())


def _never_goes_on(word: int) -> bool:
    # B, BR, RET, ERET.
    return word >> 26 == 5 or word >> 24 in (0xD6, 0xD7) and word >> 21 & 3 != 1


def _word(target: Target, pa: int) -> int | None:
    for segment in target.subject.segments:
        if segment.pa <= pa and pa + 4 <= segment.pa + len(segment.data):
            return int.from_bytes(segment.data[pa - segment.pa : pa - segment.pa + 4], "little")
    return None


def without_numbers(target: Target) -> tuple[int, ...]:
    """Return the words of the code (u32) without their immediates and the distances of ADR.

    NR_CPUS for which that is the same have the same code, but for numbers that depend on it.
    """
    # Source: Arm DDI 0487, C4.1.86 (data processing, immediate): ADR and MOVZ have no first operand.
    kept = {0: 0x9F00_001F, 1: 0x9F00_001F, 5: 0xFF80_001F}
    words = (word for _pa, word in code_words(target))
    return tuple(
        word & kept.get(word >> 23 & 7, 0xFF80_03FF) if word >> 26 & 7 == 4 else word for word in words
    )


def own_constants(target: Target) -> Iterator[int]:
    """Yield the unusual ones of its immediates of compares and moves, and of its literals, in order."""
    for pa, word in code_words(target):
        yield from unusual(target, _immediates(target, pa, word))


def counts_in_text(text: str) -> list[int]:
    """Return the numbers that conditions and repetitions of assembly text have beside NR_CPUS, ascending.

    ``.if NR_CPUS > 512`` leaves no constant in the code of other NR_CPUS.
    """
    found: set[int] = set()
    for line in _DECIDED.findall(text):
        found |= {int(number, 0) for number in _NUMBER.findall(line)}
    return sorted(found)


def unusual(target: Target, values: Iterable[int]) -> Iterator[int]:
    """Yield those that not every look-up has: no small numbers, masks, NR_CPUS, addresses."""
    usual = {target.nr_cpus, target.nr_cpus - 1, *(placed.count for placed in target.tables)}
    for value in values:
        if value > _SMALL and value not in usual and not _is_mask(value) and not _is_address(target, value):
            yield value


def _immediates(target: Target, pa: int, word: int) -> Iterator[int]:
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
