"""Shuffled numbers with gaps in every field of MPIDR; the same ones every time.

Each field has 8 of its 256 values, 0 and 255 among them, and firmware lists the 4,096 hwids in random order:
sparse:N is the first N of them. Code that uses a hwid as an index, or depends on an order, fails. Source: Arm
DDI 0487, MPIDR_EL1, which requires distinct values and nothing more; machines with fused-off cores.
"""

from __future__ import annotations

from itertools import product
from random import Random

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "sparse"
CPUS = 16

_SEED = 39_32
_VALUES = (0, 1, 3, 16, 42, 127, 128, 255)


def _order() -> list[int]:
    # All hwids. Only random() returns the same values for a seed in every Python, so no other method is used.
    shuffled = Random(_SEED)
    keyed = [(shuffled.random(), affinity(*fields)) for fields in product(_VALUES, repeat=4)]
    return [hwid for _, hwid in sorted(keyed)]


def make(cpus: int) -> Topology:
    """Return the first ``cpus`` of the shuffled CPUs.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "8 values in each of 4 fields")
    return Topology(name, tuple(map(Cpu, _order()[:cpus])))
