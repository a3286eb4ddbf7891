"""Words in units of the memory model that meet less than all of their unit.

Whatever is about a unit meets, because what a unit does by itself is done to all of it. Two kinds of accesses
do not: a load past the model's copies of bytes that nobody stores to, which neither changes the unit nor is
changed by what it does; and stores of one and the same value to the same bytes, two of which can be swapped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from emu.explore.local_state import LocalState
from emu.operation import Access, MemoryAccess, Store


class UnitWords:
    """The words of one round.

    :param units: PAs of the units
    :param behind: PAs of lines that begin with other bytes than memory has
    :param besides: words (PA, bytes) about which more is remembered than what they hold
    """

    def __init__(
        self,
        locals: Iterable[LocalState],
        units: Collection[int],
        granule: int,
        behind: Collection[int],
        besides: Collection[tuple[int, int]],
    ) -> None:
        self._granule = granule
        self._behind = {pa & -granule for pa in behind}
        self._stores: dict[int, list[Access]] = {unit: [] for unit in units}
        varied: set[tuple[int, int]] = set(besides)
        for local in locals:
            action = local.action
            stores = [access for access in action.accesses if access.is_store]
            for access in stores:
                self._stores.get(access.pa & -granule, []).append(access)
                is_plain = isinstance(action.operation, Store | MemoryAccess) and not action.updates
                if not is_plain or len(action.accesses) > 1 or access.plain or not access.cacheable:
                    varied.add((access.pa, access.size))
        self._alike = {unit: self._find_alike(stores, varied) for unit, stores in self._stores.items()}

    @staticmethod
    def _find_alike(stores: list[Access], varied: set[tuple[int, int]]) -> Access | None:
        # The only store to its bytes, by any actor; where there are several, none.
        found: dict[Access, None] = {}
        for store in stores:
            met = [other for other in stores if _overlap(other, store)]
            if all(other == store for other in met) and (store.pa, store.size) not in varied:
                found[store] = None
        return next(iter(found)) if len(found) == 1 else None

    def is_idle(self, access: Access) -> bool:
        """Tell whether an access is such a load."""
        unit = access.pa & -self._granule
        if access.is_store or access.cacheable or unit in self._behind or unit not in self._stores:
            return False
        return not any(_overlap(access, store) for store in self._stores[unit])

    def is_alike(self, access: Access) -> bool:
        """Tell whether an access is such a store."""
        return access.is_store and self._alike.get(access.pa & -self._granule) == access


def _overlap(one: Access, other: Access) -> bool:
    return one.pa < other.pa + other.size and other.pa < one.pa + one.size
