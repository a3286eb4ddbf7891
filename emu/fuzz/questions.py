"""Random questions: maps like those of machines, and MPIDRs that are in them or differ in a bit or field.

Fast rather than shrinkable: :mod:`emu.fuzz.shrink` shrinks the wrong answers. For property-based tests
see :mod:`emu.topology.generate`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from operator import or_
from random import Random

from emu.arch.mpidr import MPIDR_HWID_BITMASK, MT, RES1, U, affinity

FLAGS = tuple(res1 | mt | u for res1 in (RES1, 0) for mt in (0, MT) for u in (0, U))
COUNT_MAX = 1 << 16  # MPIDRs at once
_EDGES = (0, MPIDR_HWID_BITMASK, 0xFF, 0xFF00, 0xFF0000, 0xFF << 32, 1 << 32, 0x7FFFFF, 0x800000)
_STEPS = (1, 1, 1, 2, 4, 16)
_PER_FIELD = (1, 2, 4, 8, 16, 256, 256)


def random_map(rng: Random, nr_cpus: int) -> tuple[int | None, ...]:
    """Return a logical map of ``nr_cpus`` places: distinct hwids (u64), holes anywhere."""
    kind = rng.random()
    most = nr_cpus if kind < 0.9 else min(nr_cpus, 2)
    count = nr_cpus if kind < 0.5 else rng.randint(0, most)
    hwids = _shaped(rng, count) if rng.random() < 0.7 else _noise(rng, count)
    if rng.random() < 0.5:
        rng.shuffle(hwids)
    if count and rng.random() < 0.3:
        edge = rng.choice(_EDGES)
        if edge not in hwids:
            hwids[rng.randrange(count)] = edge
    if count == nr_cpus:
        return tuple(hwids)
    whole: list[int | None] = [None] * nr_cpus
    for place, hwid in zip(sorted(rng.sample(range(nr_cpus), count)), hwids, strict=True):
        whole[place] = hwid
    return tuple(whole)


def _shaped(rng: Random, count: int) -> list[int]:
    # Each field counts up to a size, with a step and an offset.
    sizes = [rng.choice(_PER_FIELD) for _ in range(3)]
    steps = [rng.choice(_STEPS) for _ in range(4)]
    offsets = [rng.choice((0, 0, 0, 1, 128)) for _ in range(4)]
    order = rng.sample(range(4), 4) if rng.random() < 0.3 else [0, 1, 2, 3]
    hwids: dict[int, None] = {}
    for number in range(count):
        fields, rest = [0, 0, 0, 0], number
        for place, size in zip(order, (*sizes, 1 << 16), strict=True):
            rest, value = divmod(rest, size)
            fields[place] = value * steps[place] + offsets[place] & 0xFF
        hwids[affinity(fields[3], fields[2], fields[1], fields[0])] = None
    while len(hwids) < count:
        hwids[rng.getrandbits(40) & MPIDR_HWID_BITMASK] = None
    return list(hwids)


def _noise(rng: Random, count: int) -> list[int]:
    hwids: dict[int, None] = {}
    while len(hwids) < count:
        hwids[rng.getrandbits(40) & MPIDR_HWID_BITMASK] = None
    return list(hwids)


def random_mpidrs(rng: Random, logical_map: Sequence[int | None], count: int, matches: int = 75) -> list[int]:
    """Return ``count`` raw MPIDR_EL1 (u64), ``matches`` of a hundred in the map, with any flags."""
    present = [hwid for hwid in logical_map if hwid is not None]
    inside = count * matches // 100 if present else 0
    hwids = _drawn(rng, present, inside) + _absent(rng, present, count - inside)
    start = rng.randrange(_FLAGS_POOL)
    return list(map(or_, hwids, _pool()[start : start + count]))


_FLAGS_POOL = 1 << 12


@cache
def _pool() -> list[int]:
    # Flags in a fixed pseudo-random order; callers start at a random place.
    flags = Random(0).choices(FLAGS, k=_FLAGS_POOL)
    return flags * (2 + COUNT_MAX // _FLAGS_POOL)


def _drawn(rng: Random, values: Sequence[int], count: int) -> list[int]:
    # `count` of `values`, each as likely as the others or nearly so: ten times as fast as Random.choices().
    if not count:
        return []
    width, code = (1, "B") if len(values) <= 256 else (2, "H")
    room = 1 << 8 * width
    padded = [*values] * (room // len(values) + 1)
    return [padded[place] for place in array(code, rng.randbytes(width * count))]


def _absent(rng: Random, present: Sequence[int], count: int) -> list[int]:
    # Mostly hwids that differ from one of the map in a bit or a field. Some of them may be in the map, too.
    found = []
    for _ in range(count):
        kind = rng.random()
        if present and kind < 0.8:
            hwid = rng.choice(present)
            if kind < 0.5:
                hwid ^= 1 << rng.choice((0, 1, 7, 8, 9, 15, 16, 17, 23, 32, 33, 39))
            elif kind < 0.65:
                hwid ^= 0xFF << rng.choice((0, 8, 16, 32))
            else:
                hwid = hwid << 8 & MPIDR_HWID_BITMASK | hwid >> 32
        elif kind < 0.9:
            hwid = rng.choice(_EDGES)
        else:
            hwid = rng.getrandbits(40) & MPIDR_HWID_BITMASK
        found.append(hwid)
    return found
