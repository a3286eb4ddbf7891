"""One CPU after the other: Aff0 is 0..255, then Aff1 counts.

The simplest numbering: up to 256 CPUs the logical number equals the hwid, unless CPUs are reordered. From 257
CPUs on Aff1 is not 0. Source: Arm DDI 0487, MPIDR_EL1, whose fields have 8 bits each.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "flat"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 256 to an Aff1.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    return Topology(name, tuple(Cpu(affinity(0, 0, i >> 8, i & 0xFF)) for i in range(cpus)))
