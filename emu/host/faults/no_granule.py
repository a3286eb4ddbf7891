"""The CPU has no 4K granule: ID_AA64MMFR0_EL1.TGran4 is 0b1111, and __enable_mmu finds it out.

Source: Arm DDI 0487, ID_AA64MMFR0_EL1; Linux v6.12 head.S, __no_granule_support.
"""

from __future__ import annotations

from emu.arch.sysreg import ID_AA64MMFR0_EL1, MMFR0_TGRAN4, MMFR0_TGRAN16, MMFR0_TGRAN64, Encoding, set_field
from emu.cpu.cores import core_of
from emu.host.faults import Fault
from emu.topology import Cpu

NAME = "no-granule"


class NoGranule(Fault):
    """No granule is supported, whichever the kernel was built for."""

    ends = True

    def id_registers(self, cpu: Cpu) -> dict[Encoding, int]:
        """ID_AA64MMFR0_EL1 with every TGran field at its "not supported" value."""
        core = core_of(cpu.midr)
        own = cpu.id_registers.get(ID_AA64MMFR0_EL1, core.id_register_or_default(ID_AA64MMFR0_EL1))
        value = set_field(own, MMFR0_TGRAN4, 0xF)
        value = set_field(set_field(value, MMFR0_TGRAN64, 0xF), MMFR0_TGRAN16, 0)
        return {ID_AA64MMFR0_EL1: value}


FAULT = NoGranule
