"""QEMU's machine "virt" with a GICv3, and KVM: 16 CPUs to an Aff1, which carries into Aff2.

One write to ICC_SGI1R_EL1 reaches 16 CPUs that differ in Aff0 alone. QEMU supports at most 512 CPUs. Source:
QEMU hw/arm/virt.c, virt_cpu_mp_affinity(); Linux v6.12 arch/arm64/kvm/sys_regs.c, reset_mpidr().
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "qemu-gicv3"
CPUS = 32


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 16 to an Aff1, 256 Aff1 to an Aff2.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    return Topology(name, tuple(Cpu(affinity(0, i >> 12, i >> 4 & 0xFF, i & 0xF)) for i in range(cpus)))
