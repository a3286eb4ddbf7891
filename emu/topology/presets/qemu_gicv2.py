"""QEMU's machine "virt" with a GICv2: 8 CPUs to an Aff1, which carries into Aff2.

A GICv2 has one target bit for each of 8 CPUs, so QEMU supports at most 8 with it; "sbsa-ref" uses the same
numbering for more. Source: QEMU hw/arm/virt.c, virt_cpu_mp_affinity().
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "qemu-gicv2"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 8 to an Aff1, 256 Aff1 to an Aff2.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    return Topology(name, tuple(Cpu(affinity(0, i >> 11, i >> 3 & 0xFF, i & 7)) for i in range(cpus)))
