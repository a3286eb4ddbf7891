"""Broken: two of every four entries are refused, so logical numbers have holes, 1 and 2 among them.

One of the two repeats the boot CPU, the other has bit 24 (MT). From a device tree, logical CPUs 1 and 2 do
not exist while 3 and 4 do: code that uses the number of possible CPUs as the bound of their numbers, or CPU 1
as the example for all, is wrong. Source: Linux v6.12 arch/arm64/kernel/smp.c, of_parse_and_init_cpus().
"""

from __future__ import annotations

from dataclasses import replace

from emu.arch.mpidr import MT
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape, flat

NAME = "bad-holes"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` entries, numbered as in ``flat``; of each four the second and the third are bad.

    :raises InvalidCase: not 2..4096
    """
    name = check_shape(cpus, NAME, "the second entry is the first hole", least=2)
    boot = Cpu(0)
    entries = (
        boot if i % 4 == 1 else replace(cpu, hwid=cpu.hwid | MT) if i % 4 == 2 else cpu
        for i, cpu in enumerate(flat.make(cpus).cpus)
    )
    return Topology(name, tuple[Cpu, ...](entries))
