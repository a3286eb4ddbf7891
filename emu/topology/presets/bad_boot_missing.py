"""Broken: firmware does not list the CPU that boots (hwid 0); the entries count from 1.

The kernel warns that the boot CPU is missing and starts no secondary. Source: Linux v6.12
arch/arm64/kernel/smp.c, smp_init_cpus().
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "bad-boot-missing"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` entries, numbered as in ``flat`` but from 1; the CPU that boots is one more.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    listed = (Cpu(affinity(0, 0, i >> 8, i & 0xFF)) for i in range(1, cpus + 1))
    return Topology(name, tuple(listed), boot_cpu=Cpu(0))
