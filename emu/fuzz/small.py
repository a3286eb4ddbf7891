"""Every small question: all maps of a few CPUs over a few hwids, the smallest first.

Most wrong lookups fail here already, and the first wrong answer is then the smallest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.fuzz.questions import FLAGS

# Zero, 1 in each field, the top bit of a field, all ones of a field, and all ones.
HWIDS = (0, 1, 0x100, 0x1_0000, 0x1_0000_0000, 0x80, 0xFF, 0x80_0000, MPIDR_HWID_BITMASK)
PLACES_MAX = 3  # CPUs of a map at most
MPIDRS = tuple(hwid | flags for flags in (RES1, *(f for f in FLAGS if f != RES1)) for hwid in HWIDS)


def small_maps(nr_cpus: int) -> Iterator[tuple[int | None, ...]]:
    """Yield logical maps of ``nr_cpus`` places, those with fewer CPUs first.

    Up to PLACES_MAX CPUs are at the beginning, or at the end of a longer map.
    """
    width = min(nr_cpus, PLACES_MAX)
    hwids = HWIDS if width < PLACES_MAX else HWIDS[:5]
    choices: list[int | None] = [None, *hwids]
    found = [
        row
        for row in product(choices, repeat=width)
        if len({hwid for hwid in row if hwid is not None}) == sum(hwid is not None for hwid in row)
    ]
    found.sort(key=lambda row: sum(hwid is not None for hwid in row))
    rest = (None,) * (nr_cpus - width)
    for row in found:
        yield (*row, *rest)
        if rest:
            yield (*rest, *row)
