"""Two core types: the first half little (Cortex-A53) in Aff1 = 0, the rest big (Cortex-A72) in Aff1 = 1.

MIDRs differ, and so does an ID register: the big cores have the crypto instructions. PARange does not differ,
because __cpu_setup() copies it to TCR_EL1.IPS on every CPU. The boot CPU is a little core, which is listed
first. Source: Arm's big.LITTLE machines; the TRMs of Cortex-A53 (r0p4) and A72 (r0p3) for MIDR_EL1 and
ID_AA64ISAR0_EL1.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.arch.sysreg import ID_AA64ISAR0_EL1
from emu.topology import MIDR_CORTEX_A72, Cpu, Topology
from emu.topology.presets import check_shape

NAME = "big-little"
CPUS = 8

MIDR_CORTEX_A53 = 0x410F_D034
ISAR0_CRC32 = 0x0001_0000
ISAR0_CRC32_CRYPTO = 0x0001_1120  # SHA2, SHA1, AES with PMULL


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, half of them little, rounded up.

    :raises InvalidCase: not 1..512
    """
    name = check_shape(cpus, NAME, "two clusters of at most 256 in Aff0", most=512)
    little = (cpus + 1) // 2
    littles = (
        Cpu(affinity(0, 0, 0, core), MIDR_CORTEX_A53, {ID_AA64ISAR0_EL1: ISAR0_CRC32}, cluster=0, core=core)
        for core in range(little)
    )
    bigs = (
        Cpu(
            affinity(0, 0, 1, core),
            MIDR_CORTEX_A72,
            {ID_AA64ISAR0_EL1: ISAR0_CRC32_CRYPTO},
            cluster=1,
            core=core,
        )
        for core in range(cpus - little)
    )
    return Topology(name, (*littles, *bigs))
