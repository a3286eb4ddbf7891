"""Values that several CPUs store to a word: stores of one and the same value can be swapped.

A store writes the bit of its word, which loads read, and one for its value. It is in the way of stores of
other values alone: of the bits of these, and of one for all that stores to the word in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from emu.explore.local_state import Action, LocalState
from emu.operation import Access, Load, MemoryAccess, Store

_PLAIN = (Load, Store, MemoryAccess)
_OTHER = None  # what else is stored to a word


class StoredValues:
    """The values of one round.

    :param is_word: whether nothing is remembered of what an access touches but its bytes
    :param new_bit: makes a bit, by a number of its own from 0 on
    """

    def __init__(
        self,
        locals: Iterable[LocalState],
        is_word: Callable[[Access], bool],
        new_bit: Callable[[int], int],
    ) -> None:
        self._is_word = is_word
        self._bits: dict[tuple[int, int], dict[int | None, int]] = {}  # by PA and bytes, by value
        found: dict[tuple[int, int], dict[int, set[int]]] = {}
        for local in locals:
            for access in local.action.accesses:
                if self._is_simple(local.action, access):
                    values = found.setdefault((access.pa, access.size), {})
                    values.setdefault(access.value, set()).add(local.cpu)
        made = 0
        for word, values in found.items():
            if any(len(cpus) > 1 for cpus in values.values()):
                bits = self._bits[word] = {}
                for value in (_OTHER, *values):
                    bits[value] = new_bit(made)
                    made += 1

    def note(self, action: Action, alone: Callable[[Access], int]) -> int:
        """Return the bits of the values that an action stores; fill in what it may be swapped with.

        :param alone: returns the bit of an access to a location that nothing else overlaps, or 0
        """
        action.swapped = action.differs = found = 0
        for access in action.accesses:
            bits = self._bits.get((access.pa, access.size))
            if bits is None or not access.is_store:
                continue
            word = alone(access) if self._is_simple(action, access) else 0
            own = bits.get(access.value, bits[_OTHER]) if word else bits[_OTHER]
            found |= own
            if own != bits[_OTHER]:
                action.swapped |= word | own
                action.differs |= sum(bits.values()) & ~own
        return found

    def _is_simple(self, action: Action, access: Access) -> bool:
        simple = isinstance(action.operation, _PLAIN) and not access.plain and not action.updates
        return access.is_store and simple and self._is_word(access)
