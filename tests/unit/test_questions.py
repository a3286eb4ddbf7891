"""Random questions are drawn in bulk, and are those that drawing one after the other gives."""

from __future__ import annotations

from random import Random

import pytest

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.questions import _drawn, _drawn_many, _noise, _shaped, random_map, random_mpidrs


def _counted(rng: Random, count: int) -> list[int]:
    # What _shaped() draws, with each number divided by itself.
    sizes = [rng.choice((1, 2, 4, 8, 16, 256, 256)) for _ in range(3)]
    steps = [rng.choice((1, 1, 1, 2, 4, 16)) for _ in range(4)]
    offsets = [rng.choice((0, 0, 0, 1, 128)) for _ in range(4)]
    order = rng.sample(range(4), 4) if rng.random() < 0.3 else [0, 1, 2, 3]
    hwids: dict[int, None] = {}
    for number in range(count):
        hwid, rest = 0, number
        for place, size in zip(order, (*sizes, 1 << 16), strict=True):
            rest, value = divmod(rest, size)
            hwid |= (value * steps[place] + offsets[place] & 0xFF) << (0, 8, 16, 32)[place]
        hwids[hwid] = None
    while len(hwids) < count:
        hwids[rng.getrandbits(40) & MPIDR_HWID_BITMASK] = None
    return list(hwids)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 256, 300])
def test_hwids_in_bulk_are_those_of_one_after_the_other(count: int) -> None:
    for seed in range(40):
        one, many = Random(seed), Random(seed)
        assert _shaped(many, count) == _counted(one, count), seed
        assert len(noise := _noise(many, count)) == count
        assert noise == [one.getrandbits(40) & MPIDR_HWID_BITMASK for _ in range(count)]
        assert many.getstate() == one.getstate()


@pytest.mark.parametrize("values", [1, 3, 255, 256, 257])
def test_thousands_are_drawn_as_few_are(values: int) -> None:
    hwids = _noise(Random(1), values)
    assert list(_drawn_many(Random(2), hwids, 999)) == _drawn(Random(2), hwids, 999)


def test_all_but_the_flags_of_most_are_in_the_map() -> None:
    rng = Random(3)
    logical_map = random_map(rng, 64)
    asked = random_mpidrs(rng, logical_map, 1000, 75)
    inside = [mpidr & MPIDR_HWID_BITMASK in logical_map for mpidr in asked]
    assert len(asked) == 1000
    assert all(inside[:750])
    assert sum(inside[750:]) < 100
