"""Constants of a subject: bytes of its image that nobody writes and that are no instruction of the look-up.

A look-up may read them, unless its contract forbids that: a literal, a global offset table, ``.rodata``.
What is beside a table of the image is none: to read it is to read over the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from emu.arch import a64
from emu.lookup.target import Target

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


def code_words(target: Target) -> Iterator[tuple[int, int]]:
    """Yield PA and word of the instructions from the entry on, by PA.

    Both ways of each branch, up to the exits and what leaves by register.
    """
    found: dict[int, int] = {}
    ends = {target.found_pa, target.missing_pa}
    todo = [target.entry_pa]
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
