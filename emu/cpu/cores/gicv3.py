"""Registers of the GICv3 CPU interface that emu does not model: a PE has them if ID_AA64PFR0_EL1.GIC says so.

:source: Arm IHI 0069, 12.2 (AArch64 system register interface)
"""

from __future__ import annotations

from emu.arch.sysreg import Encoding

UNMODELLED: dict[Encoding, str] = {
    (3, 0, 4, 6, 0): "ICC_PMR_EL1",
    (3, 0, 12, 8, 0): "ICC_IAR0_EL1",
    (3, 0, 12, 8, 1): "ICC_EOIR0_EL1",
    (3, 0, 12, 8, 2): "ICC_HPPIR0_EL1",
    (3, 0, 12, 8, 3): "ICC_BPR0_EL1",
    (3, 0, 12, 8, 4): "ICC_AP0R0_EL1",
    (3, 0, 12, 9, 0): "ICC_AP1R0_EL1",
    (3, 0, 12, 11, 1): "ICC_DIR_EL1",
    (3, 0, 12, 11, 3): "ICC_RPR_EL1",
    (3, 0, 12, 11, 5): "ICC_SGI1R_EL1",
    (3, 0, 12, 11, 6): "ICC_ASGI1R_EL1",
    (3, 0, 12, 11, 7): "ICC_SGI0R_EL1",
    (3, 0, 12, 12, 0): "ICC_IAR1_EL1",
    (3, 0, 12, 12, 1): "ICC_EOIR1_EL1",
    (3, 0, 12, 12, 2): "ICC_HPPIR1_EL1",
    (3, 0, 12, 12, 3): "ICC_BPR1_EL1",
    (3, 0, 12, 12, 4): "ICC_CTLR_EL1",
    (3, 0, 12, 12, 6): "ICC_IGRPEN0_EL1",
    (3, 0, 12, 12, 7): "ICC_IGRPEN1_EL1",
    (3, 4, 12, 8, 0): "ICH_AP0R0_EL2",
    (3, 4, 12, 9, 0): "ICH_AP1R0_EL2",
    (3, 4, 12, 11, 2): "ICH_MISR_EL2",
    (3, 4, 12, 11, 3): "ICH_EISR_EL2",
    (3, 4, 12, 11, 5): "ICH_ELRSR_EL2",
    (3, 4, 12, 11, 7): "ICH_VMCR_EL2",
    **{(3, 4, 12, 12, number): f"ICH_LR{number}_EL2" for number in range(4)},
}
