"""Broken: every fourth entry repeats the hwid of the second one (entries 3, 7 and so on from 0).

The kernel keeps the first and refuses the others; in a device tree their logical numbers stay unused. Source:
Linux v6.12 arch/arm64/kernel/smp.c, is_mpidr_duplicate() and its callers.
"""

from __future__ import annotations

from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape, flat

NAME = "bad-duplicate"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` entries, numbered as in ``flat`` except the duplicates.

    :raises InvalidCase: not 4..4096
    """
    name = check_shape(cpus, NAME, "the fourth entry is the first duplicate", least=4)
    duplicate = flat.make(2).cpus[1]
    entries = (duplicate if i % 4 == 3 else cpu for i, cpu in enumerate(flat.make(cpus).cpus))
    return Topology(name, tuple[Cpu, ...](entries))
