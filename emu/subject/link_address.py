"""Where an image was linked, from the pointers in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

_ALL_LOOKED_AT = 1 << 17  # words of an image that is small enough to look at each
_WORDS = 1024  # pointers that vote
_OFFSETS = 1 << 15  # symbols that they may vote for
_LEAD = 2  # how many times the votes of the next address the winner needs
_VOTES_MIN = 8
_KERNEL_VA = 0xFFFF << 48
_NEGATIVE = (1 << 64) - (16 << 20)  # a small negative number and no pointer


def is_kernel_va(va: int) -> bool:
    """Tell whether ``va`` (u64) may be in a kernel's image: bits 63 to 48 set, no small negative number."""
    return _KERNEL_VA <= va < _NEGATIVE


def pointers(image: bytes) -> list[int]:
    """Return at most 1024 words (u64) of a raw Image that may be kernel VAs, from all over it.

    Relocations that nothing has applied count: their words have the addresses.
    """
    words = memoryview(image)[: len(image) & ~7].cast("Q")
    # A table's rows have two or three words. A stride that shares no factor with them sees every column.
    stride = 6 * (len(words) // _ALL_LOOKED_AT) + 1
    found = [word for word in words[::stride] if _KERNEL_VA <= word < _NEGATIVE]
    return found[:: len(found) // _WORDS + 1]


def vote_link_address(image: bytes, offsets: Sequence[int], clear_bits: int) -> int | None:
    """Return the VA (u64) that ``offsets`` of symbols are from; None when pointers do not agree on one.

    Many pointers of a kernel are to the start of a function. So of all addresses that would make a pointer
    meet a symbol, the one that most pointers have in common is it.

    :param clear_bits: how many of its lowest bits are known to be zero
    """
    mask = (1 << clear_bits) - 1
    by_low_bits = defaultdict(list)
    for offset in set(offsets[:: len(offsets) // _OFFSETS + 1]):
        by_low_bits[offset & mask].append(offset)
    votes: Counter[int] = Counter()
    for pointer in pointers(image):
        votes.update([pointer - offset for offset in by_low_bits.get(pointer & mask, ())])
    ranked = votes.most_common(2)
    if not ranked or ranked[0][1] < _VOTES_MIN or not is_kernel_va(ranked[0][0]):
        return None
    if len(ranked) > 1 and ranked[0][1] < _LEAD * ranked[1][1]:
        return None
    return ranked[0][0]
