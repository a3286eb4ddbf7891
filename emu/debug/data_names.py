"""Names of data that has no symbol of its own: shared words, idle tasks, their stacks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from emu.debug.bootdata import BootWord
from emu.debug.debugged import Code

_TASK_BYTES = 0x80


class _Ranges:
    # Names by ranges of PAs, none of which lies in another.

    def __init__(self, named: Iterable[tuple[int, int, str]]) -> None:
        self._rows = sorted(named)  # first PA, PA behind, name
        self._firsts = [first for first, _, _ in self._rows]

    def find(self, pa: int) -> tuple[str, int] | None:
        # The name of the range that a PA lies in, and the offset into it.
        at = bisect_right(self._firsts, pa) - 1
        if at < 0 or pa >= self._rows[at][1]:
            return None
        return self._rows[at][2], pa - self._firsts[at]


class DataNames:
    """The names of one guest."""

    def __init__(self, guest: Code, words: Iterable[BootWord]) -> None:
        self._words = _Ranges((word.pa, word.pa + word.size, word.name) for word in words)
        idle = []
        for cpu, each in enumerate(guest.idle):
            task, stack = guest.pa_of(each.task), guest.pa_of(each.stack_low)
            idle.append((task, task + _TASK_BYTES, f"CPU{cpu}'s task"))
            idle.append((stack, stack + each.stack_high - each.stack_low, f"CPU{cpu}'s stack"))
        self._idle = _Ranges(idle)

    def of(self, pa: int) -> str:
        """Return the name of the byte at a PA: of a word, a task or a stack; nothing for another one."""
        word = self._words.find(pa)
        if word is not None:
            return f"{word[0]}+{word[1]}" if word[1] else word[0]
        idle = self._idle.find(pa)
        return "" if idle is None else f"{idle[0]}+{idle[1]:#x}"
