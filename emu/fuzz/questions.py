"""Random questions: maps like those of machines, and MPIDRs that are in them or differ in a bit or field.

Fast rather than shrinkable: :mod:`emu.fuzz.shrink` shrinks the wrong answers. For property-based tests
see :mod:`emu.topology.generate`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from itertools import islice, product
from math import prod
from operator import xor
from random import Random

from emu.arch.mpidr import AFF0, AFF1, AFF2, AFF3, MPIDR_HWID_BITMASK, MT, RES1, U

FLAGS = tuple(res1 | mt | u for res1 in (RES1, 0) for mt in (0, MT) for u in (0, U))
COUNT_MAX = 1 << 16  # MPIDRs at once
BITS = tuple(bit for bit in range(64) if MPIDR_HWID_BITMASK >> bit & 1)
OTHER_BITS = tuple(bit for bit in range(64) if not MPIDR_HWID_BITMASK >> bit & 1)
_EDGES = (0, MPIDR_HWID_BITMASK, 0xFF, 0xFF00, 0xFF0000, 0xFF << 32, 1 << 32, 0x7FFFFF, 0x800000)
_BIT_VALUES = tuple(1 << bit for bit in BITS)
_FIELD_VALUES = tuple(0xFF << low for low in (0, 8, 16, 32))
# Of a hundred that are not in the map: a bit differs, a field, fields moved, edges, noise.
_KINDS, _KINDS_OF_NONE = (50, 15, 15, 10, 10), (0, 0, 0, 90, 10)
_STEPS = (1, 1, 1, 2, 4, 16)
_PER_FIELD = (1, 2, 4, 8, 16, 256, 256)
_LOWS = tuple(low for _high, low in (AFF0, AFF1, AFF2, AFF3))


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
    beyond = -(-count // prod(sizes))  # values of the last of the four fields
    ranges = []
    for place, size in zip(order, (*sizes, beyond), strict=True):
        low, step, offset = _LOWS[place], steps[place], offsets[place]
        ranges.append([(value * step + offset & 0xFF) << low for value in range(min(size, count))])
    counted = islice(product(*reversed(ranges)), count)  # the first field counts fastest
    return _filled_up(rng, dict.fromkeys(map(sum, counted)), count)


def _noise(rng: Random, count: int) -> list[int]:
    return _filled_up(rng, {}, count)


def _filled_up(rng: Random, hwids: dict[int, None], count: int) -> list[int]:
    # With any others up to `count`. What is drawn is that of so many getrandbits(40): two words of 32 bits
    # each, the low one whole and the top byte of the other.
    while missing := count - len(hwids):
        drawn = array("Q", rng.randbytes(8 * missing))
        hwids |= dict.fromkeys([value & 0xFF_FFFF | value >> 56 << 32 for value in drawn])
    return list(hwids)


def random_mpidrs(
    rng: Random, logical_map: Sequence[int | None], count: int, matches: int = 75
) -> array[int]:
    """Return ``count`` raw MPIDR_EL1 (u64), ``matches`` of a hundred in the map, with any flags."""
    present = [hwid for hwid in logical_map if hwid is not None]
    inside = count * matches // 100 if present else 0
    hwids = _drawn_many(rng, present, inside) + array("Q", _absent(rng, present, count - inside))
    start = rng.randrange(_FLAGS_POOL)
    flags = _pool()[start : start + count]
    both = int.from_bytes(hwids, "little") | int.from_bytes(flags, "little")  # all of them at once
    return array("Q", both.to_bytes(8 * count, "little"))


_FLAGS_POOL = 1 << 12


@cache
def _pool() -> array[int]:
    # Flags in a fixed pseudo-random order, with any other bit set in one of eight; callers start at a random
    # place.
    rng = Random(0)
    flags = rng.choices(FLAGS, k=_FLAGS_POOL)
    flags = [flag ^ (1 << rng.choice(OTHER_BITS) if rng.random() < 1 / 8 else 0) for flag in flags]
    return array("Q", flags * (2 + COUNT_MAX // _FLAGS_POOL))


def _drawn(rng: Random, values: Sequence[int], count: int) -> list[int]:
    # `count` of `values`, each as likely as the others or nearly so: ten times as fast as Random.choices().
    if not count:
        return []
    width, code = (1, "B") if len(values) <= 256 else (2, "H")
    padded = _padded(values, 1 << 8 * width)
    return [padded[place] for place in array(code, rng.randbytes(width * count))]


def _drawn_many(rng: Random, values: Sequence[int], count: int) -> array[int]:
    # The same, faster for thousands: byte by byte of all of them at once.
    if not count or len(values) > 256:
        return array("Q", _drawn(rng, values, count))
    places, columns = rng.randbytes(count), array("Q", _padded(values, 256)).tobytes()
    found = bytearray(8 * count)
    for byte in range(8):
        found[byte::8] = places.translate(columns[byte::8])
    return array("Q", bytes(found))


def _padded(values: Sequence[int], room: int) -> list[int]:
    return ([*values] * (room // len(values) + 1))[:room]


def _absent(rng: Random, present: Sequence[int], count: int) -> list[int]:
    # Mostly hwids that differ from one of the map in a bit or a field. Some of them may be in the map, too.
    bits, fields, moved, edges, noise = _split(rng, count, _KINDS if present else _KINDS_OF_NONE)
    found = list(map(xor, _drawn(rng, present, bits), _drawn(rng, _BIT_VALUES, bits)))
    found += map(xor, _drawn(rng, present, fields), _drawn(rng, _FIELD_VALUES, fields))
    found += [hwid << 8 & MPIDR_HWID_BITMASK | hwid >> 32 for hwid in _drawn(rng, present, moved)]
    found += _drawn(rng, _EDGES, edges)
    found += [value & MPIDR_HWID_BITMASK for value in array("Q", rng.randbytes(8 * noise))]
    return found


def _split(rng: Random, count: int, weights: Sequence[int]) -> list[int]:
    # As the weights say; what is left over goes to some of them.
    whole = sum(weights)
    found = [count * weight // whole for weight in weights]
    for place in rng.choices(range(len(weights)), weights, k=count - sum(found)):
        found[place] += 1
    return found
