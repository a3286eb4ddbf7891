"""Where things lie in Unicorn 2.1.4's structs: offsets in bytes.

``CPUARMState`` is the same on every LP64 host. What differs is in QEMU's ``CPUState``, which holds a
``sigjmp_buf`` of the host's C library: :data:`BUILDS` has it for each wheel of 2.1.4, read from its own code
(``uc_context_save`` and ``uc_emu_start`` of the library in the wheel).
:mod:`emu.cpu.unicorn.live` chooses one and checks all of it before the first instruction.
"""

from __future__ import annotations

from typing import NamedTuple

from emu.arch import sysreg
from emu.arch.sysreg import Encoding

CONTEXT_HEADER = 40  # bytes of UcContext before the CPUARMState
CONTEXT_BYTES = 12600  # of the CPUARMState that a context keeps
CPUSTATE_IN_ENGINE = 0x1B8
COUNTER_IN_ENGINE = 0x558  # instructions begun since emu_start
LIMIT_IN_ENGINE = 0x560  # instructions that emu_start runs at most
INTERRUPT_IN_CPUSTATE = 0x1C  # u32: QEMU's interrupt_request


class Build(NamedTuple):
    """One wheel of Unicorn 2.1.4.

    :ivar host: sys.platform and platform.machine()
    :ivar env: offset in CPUState of the pointer to CPUARMState
    """

    host: tuple[str, str]
    env: int


BUILDS = (
    Build(("linux", "x86_64"), 0x128),  # glibc and musl: sigjmp_buf has 200 bytes
    Build(("linux", "aarch64"), 0x198),  # 312 bytes
    Build(("darwin", "arm64"), 0x128),  # 196 bytes
    Build(("darwin", "x86_64"), 0xF8),  # 152 bytes
)

# CPUARMState
XREGS, PC, PSTATE = 64, 320, 328
CF, VF, NF, ZF, BTYPE, DAIF = 520, 524, 528, 532, 552, 560  # Z is set when ZF is 0, N and V are bit 31
SP_EL, SCTLR_EL, CPACR, CPTR_EL = 600, 672, 704, 712
TTBR0_EL, TTBR1_EL, TCR_EL = 768, 800, 840
HCR_EL2, SCR_EL3 = 952, 960
MAIR_EL, VBAR_EL, CONTEXTIDR_EL, TPIDR_EL = 1184, 1216, 1264, 1296
CNTVOFF_EL2 = 1384
CYCLES, CYCLES_SIZE = 2056, 16  # PMCCNTR_EL0 and its delta: the host's time at the last exception return
VPIDR_EL2, VMPIDR_EL2, SYNDROME, FAULT_VA, TARGET_EL = 2824, 2832, 3024, 3032, 3040
RAISED_SIZE = 20  # of SYNDROME and what follows: the last exception that QEMU has begun to raise
EXCLUSIVE_ADDR, EXCLUSIVE_VALUE, EXCLUSIVE_HIGH = 12032, 12040, 12048
# iWMMXt's registers, of XScale: no AArch64 PE has them, contexts keep them. Here is what the engine lacks.
IWMMXT = 12056
KEPT: dict[Encoding, int] = {
    sysreg.OSDTRRX_EL1: IWMMXT,
    sysreg.OSDTRTX_EL1: IWMMXT + 8,
    sysreg.OSECCR_EL1: IWMMXT + 16,
    sysreg.DBGPRCR_EL1: IWMMXT + 24,
    sysreg.DBGCLAIMCLR_EL1: IWMMXT + 32,
    sysreg.OSDLR_EL1: IWMMXT + 40,
    sysreg.WRITTEN_AT_EL2: IWMMXT + 48,
}
# QEMU's ARMISARegisters behind the state, of the engine and no PE: what it translates by; of each an u64.
FEATURES: dict[Encoding, int] = {
    sysreg.ID_AA64ISAR0_EL1: 0x3280,
    sysreg.ID_AA64ISAR1_EL1: 0x3288,
    sysreg.ID_AA64PFR0_EL1: 0x3290,
    sysreg.ID_AA64PFR1_EL1: 0x3298,
    sysreg.ID_AA64MMFR0_EL1: 0x32A0,
    sysreg.ID_AA64MMFR1_EL1: 0x32A8,
    sysreg.ID_AA64MMFR2_EL1: 0x32B0,
}
# What a TLB entry depends on lies in here: SCTLR, TTBR0, TTBR1, VTTBR, TCR, VTCR, HCR and SCR of all levels.
REGIME, REGIME_SIZE = SCTLR_EL, SCR_EL3 + 8 - SCTLR_EL

# Registers that can be read from a saved context, by encoding.
IN_CONTEXT: dict[Encoding, int] = {
    sysreg.SCTLR_EL1: SCTLR_EL + 8,
    sysreg.SCTLR_EL2: SCTLR_EL + 16,
    sysreg.CPACR_EL1: CPACR,
    sysreg.CPTR_EL2: CPTR_EL + 16,
    sysreg.TTBR0_EL1: TTBR0_EL + 8,
    sysreg.TTBR1_EL1: TTBR1_EL + 8,
    sysreg.TCR_EL1: TCR_EL + 16,
    sysreg.TTBR0_EL2: TTBR0_EL + 16,
    sysreg.TTBR1_EL2: TTBR1_EL + 16,
    sysreg.TCR_EL2: TCR_EL + 32,
    sysreg.MAIR_EL1: MAIR_EL + 8,
    sysreg.MAIR_EL2: MAIR_EL + 16,
    sysreg.VBAR_EL1: VBAR_EL + 8,
    sysreg.VBAR_EL2: VBAR_EL + 16,
    sysreg.TPIDR_EL1: TPIDR_EL + 8,
    sysreg.TPIDR_EL2: TPIDR_EL + 16,
    sysreg.CONTEXTIDR_EL1: CONTEXTIDR_EL + 8,
    sysreg.HCR_EL2: HCR_EL2,
    sysreg.CNTVOFF_EL2: CNTVOFF_EL2,
    sysreg.SCR_EL3: SCR_EL3,
    sysreg.VMPIDR_EL2: VMPIDR_EL2,
    sysreg.VPIDR_EL2: VPIDR_EL2,
}
