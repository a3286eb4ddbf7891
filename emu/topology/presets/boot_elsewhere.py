"""Boots on the first CPU of the second cluster (Aff2 = 1), listed in the middle; CPU 0x0 is a secondary.

The boot CPU is logical CPU 0 wherever firmware lists it, and a table full of zeros seems to hold the
secondary whose hwid is 0. With one CPU its hwid is 0x10000. Source: Arm's Juno, which lists the big cluster
first and boots on the little one; kexec and kdump, which boot on any CPU.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "boot-elsewhere"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, half of them, rounded down, before the one that boots.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    first = cpus // 2
    places = ((0, i) if i < first else (1, i - first) for i in range(cpus))
    hwids = (affinity(0, cluster, i >> 8, i & 0xFF) for cluster, i in places)
    return Topology(name, tuple(map(Cpu, hwids)), boot_cpu=first)
