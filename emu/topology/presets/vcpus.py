"""A virtual machine for vCPU hotplug: the first half is Enabled, the rest only Online-capable (ACPI).

All are possible, the first half is present at boot; a CPU that the hypervisor has not plugged in answers
CPU_ON with DENIED. Numbered as KVM does, 16 to an Aff1, and PSCI by HVC. Source: ACPI 6.5, 5.2.12.14 GICC
flags; Linux v6.12 Documentation/arch/arm64/cpu-hotplug.rst.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "vcpus"
CPUS = 8


def make(cpus: int) -> Topology:
    """Return ``cpus`` vCPUs; half of them, rounded up, are present at boot.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    present = (cpus + 1) // 2
    vcpus = (
        # ACPI reserves Online-capable where Enabled is set.
        Cpu(
            affinity(0, i >> 12, i >> 4 & 0xFF, i & 0xF),
            enabled=i < present,
            online_capable=i >= present,
        )
        for i in range(cpus)
    )
    return Topology(name, tuple(vcpus), conduit="hvc", firmware="acpi")
