"""Broken: every second entry has a bit that is no part of a hwid: 24 (MT), 30 (U), 31 (RES1) or 40.

Firmware that lists MPIDR_EL1 raw, or sets a bit above Aff3, looks like this. The kernel refuses these
entries; their PEs have valid numbers. Source: Linux v6.12 arch/arm64/kernel/smp.c, of_parse_and_init_cpus()
and acpi_map_gic_cpu_interface().
"""

from __future__ import annotations

from dataclasses import replace

from emu.topology import Topology
from emu.topology.presets import check_shape, flat

NAME = "bad-reserved-bits"
CPUS = 8

_BITS = (24, 30, 31, 40)


def make(cpus: int) -> Topology:
    """Return ``cpus`` entries, numbered as in ``flat`` except the reserved bits.

    :raises InvalidCase: not 2..4096
    """
    name = check_shape(cpus, NAME, "the second entry is the first bad one", least=2)
    entries = list(flat.make(cpus).cpus)
    for place, index in enumerate(range(1, cpus, 2)):
        bit = _BITS[place % len(_BITS)]
        entries[index] = replace(entries[index], hwid=entries[index].hwid | 1 << bit)
    return Topology(name, tuple(entries))
