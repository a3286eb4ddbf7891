"""Two sequences of items aligned to their ends: where they part, and where both do the same again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from emu.report.history import Item

_ALIKE = 4  # items in a row that both sides have, where they come together again
_WINDOW = 64  # items of each side among which that is looked for first

Row = tuple[int, int]  # the number of an item on each side; -1: that side has none


@dataclass(frozen=True, slots=True)
class Hunk:
    """Rows of an alignment: those that differ, and some before and after.

    :ivar changed: of each row, whether it differs
    """

    rows: Sequence[Row]
    changed: Sequence[bool]


def loose(item: Item) -> Hashable:
    """Return what is equal for items that belong together although what they did differs."""
    return item.place.partition("+")[0].partition(":")[0], item.like


def align(a: Sequence[Item], b: Sequence[Item]) -> Iterator[Row]:
    """Yield the rows of an alignment, in order; every item of both sides is in one."""
    keys = [loose(item) for item in a], [loose(item) for item in b]
    here, there = 0, 0
    while here < len(a) and there < len(b):
        if keys[0][here] == keys[1][there]:
            yield here, there
            here, there = here + 1, there + 1
            continue
        ours, theirs = _together(keys[0][here:], keys[1][there:])
        yield from ((here + at, -1) for at in range(ours))
        yield from ((-1, there + at) for at in range(theirs))
        here, there = here + ours, there + theirs
    yield from ((at, -1) for at in range(here, len(a)))
    yield from ((-1, at) for at in range(there, len(b)))


def _together(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, int]:
    # How many items to leave out on each side, as few as possible, until both do the same for a while.
    window = _WINDOW
    while True:
        first: dict[tuple[Hashable, ...], int] = {}
        for at in range(min(window, len(b))):
            first.setdefault(tuple(b[at : at + _ALIKE]), at)
        found: tuple[int, int] | None = None
        for at in range(min(window, len(a))):
            if found is not None and at >= sum(found):
                break
            other = first.get(tuple(a[at : at + _ALIKE]))
            if other is not None and (found is None or at + other < sum(found)):
                found = at, other
        if found is not None:
            return found
        if window >= len(a) and window >= len(b):
            return len(a), len(b)
        window *= 4


def hunks(a: Sequence[Item], b: Sequence[Item], context: int) -> Iterator[Hunk]:
    """Yield what differs, with up to ``context`` rows before and after; hunks that would touch are one."""
    rows = list(align(a, b))
    changed = [
        here < 0 or there < 0 or bool(a[here].only(b[there]) or b[there].only(a[here]))
        for here, there in rows
    ]
    at = 0
    while (first := next((row for row in range(at, len(rows)) if changed[row]), -1)) >= 0:
        last = first
        for row in range(first, len(rows)):
            if changed[row]:
                last = row
            elif row - last > 2 * context:
                break
        begin, at = max(at, first - context), min(len(rows), last + context + 1)
        yield Hunk(rows[begin:at], changed[begin:at])
