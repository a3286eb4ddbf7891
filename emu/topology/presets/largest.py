"""As many CPUs as an arm64 kernel can be built for: 4,096 in 16 x 16 x 16 of Aff0, Aff1 and Aff2.

Every table is full, and the last logical number is 4,095. Source: Linux v6.12 arch/arm64/Kconfig, NR_CPUS.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "largest"
CPUS = 4096


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 16 to an Aff1, 16 Aff1 to an Aff2.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "16 x 16 x 16")
    return Topology(name, tuple(Cpu(affinity(0, i >> 8, i >> 4 & 0xF, i & 0xF)) for i in range(cpus)))
