"""Broken: the boot CPU is listed first, and again in the middle.

The kernel must not start its boot CPU as a secondary; in a device tree the second entry's logical number
stays unused. Source: Linux v6.12 arch/arm64/kernel/smp.c, bootcpu_valid in of_parse_and_init_cpus() and
acpi_map_gic_cpu_interface().
"""

from __future__ import annotations

from emu.topology import Topology
from emu.topology.presets import check_shape, flat

NAME = "bad-boot-twice"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` entries, numbered as in ``flat``, with the first one repeated at ``cpus // 2``.

    :raises InvalidCase: not 2..4096
    """
    name = check_shape(cpus, NAME, "the boot CPU is there twice", least=2)
    distinct = flat.make(cpus - 1).cpus
    middle = cpus // 2
    return Topology(name, (*distinct[:middle], distinct[0], *distinct[middle:]))
