"""Arm Neoverse N1: Armv8.2 with VHE, LSE, RCPC, PAN, UAO; without RAS, half precision, SSBS, SPE, HAFDBS.

:source: Neoverse N1 TRM (100616), B2; values of QEMU 7.2's model, without the fields of what emu lacks
"""

from __future__ import annotations

from emu.cpu.cores.aarch32 import ID_REGISTERS

NAME = "neoverse-n1"
MIDR = 0x414F_D0C1
PMCR = 0x410C_3000
FEATURES = frozenset({"FEAT_VHE", "FEAT_PAN2", "FEAT_UAO", "FEAT_LOR", "FEAT_LSE", "FEAT_LRCPC", "FEAT_DPB"})
AARCH32_MAX = 0
IDENTIFICATION = {
    **ID_REGISTERS,
    (3, 0, 0, 1, 0): 0x1_0131,  # ID_PFR0_EL1: CSV2
    (3, 0, 0, 1, 1): 0x1_0000,
    (3, 0, 0, 1, 2): 0x401_0088,  # ID_DFR0_EL1
    (3, 0, 0, 1, 4): 0x1020_1105,  # ID_MMFR0_EL1
    (3, 0, 0, 2, 4): 0x1_0142,
    (3, 0, 0, 2, 5): 0x101_1121,
    (3, 0, 0, 2, 6): 0x1110,  # ID_MMFR4_EL1
    (3, 0, 0, 2, 7): 0x10,  # ID_ISAR6_EL1
    (3, 0, 0, 3, 4): 0x1,  # ID_PFR2_EL1: CSV3
    (3, 0, 0, 4, 0): 0x1100_0000_0000_1112,  # ID_AA64PFR0_EL1: CSV2, CSV3
    (3, 0, 0, 5, 0): 0x1030_5408,  # ID_AA64DFR0_EL1
    (3, 0, 0, 6, 0): 0x1000_1021_1120,  # ID_AA64ISAR0_EL1: DP, RDM, LSE, CRC32, SHA, AES
    (3, 0, 0, 6, 1): 0x10_0001,  # ID_AA64ISAR1_EL1: LRCPC, DPB
    (3, 0, 0, 7, 0): 0x10_1125,  # ID_AA64MMFR0_EL1: 48 bits, all granules
    (3, 0, 0, 7, 1): 0x21_1120,  # ID_AA64MMFR1_EL1: PAN2, LO, HPDS, VH, VMID16
    (3, 0, 0, 7, 2): 0x11,  # ID_AA64MMFR2_EL1: UAO, CnP
    (3, 1, 0, 0, 1): 0x8200_0023,  # CLIDR_EL1
    (3, 3, 0, 0, 1): 0x8444_C004,  # CTR_EL0
    (3, 3, 9, 12, 7): 0x18,  # PMCEID1_EL0
}
CCSIDR = {0: 0x701F_E01A, 1: 0x201F_E01A, 2: 0x70FF_E03A}
UNMODELLED = {
    (3, 0, 15, 1, 0): "CPUACTLR_EL1",
    (3, 0, 15, 1, 1): "CPUACTLR2_EL1",
    (3, 0, 15, 1, 2): "CPUACTLR3_EL1",
    (3, 0, 15, 1, 4): "CPUECTLR_EL1",
    (3, 0, 15, 0, 0): "CPUCFR_EL1",
    (3, 0, 15, 2, 7): "CPUPWRCTLR_EL1",
    (3, 0, 15, 2, 0): "ERXPFGF_EL1",
    (3, 0, 15, 2, 1): "ERXPFGCTL_EL1",
    (3, 0, 15, 2, 2): "ERXPFGCDN_EL1",
    (3, 0, 15, 7, 0): "ATCR_EL1",
    (3, 4, 15, 7, 0): "ATCR_EL2",
    (3, 4, 15, 7, 1): "AVTCR_EL2",
    **{(3, 0, 15, 3, number): f"CLUSTER{number}_EL1" for number in range(8)},
    # The features that this core has and emu's ID registers do not show: RAS, SPE, SSBS.
    (3, 0, 5, 3, 0): "ERRIDR_EL1",
    (3, 0, 5, 3, 1): "ERRSELR_EL1",
    (3, 0, 5, 4, 0): "ERXFR_EL1",
    (3, 0, 5, 4, 1): "ERXCTLR_EL1",
    (3, 0, 5, 4, 2): "ERXSTATUS_EL1",
    (3, 0, 5, 4, 3): "ERXADDR_EL1",
    (3, 0, 5, 5, 0): "ERXMISC0_EL1",
    (3, 0, 5, 5, 1): "ERXMISC1_EL1",
    (3, 0, 12, 1, 1): "DISR_EL1",
    (3, 4, 12, 1, 1): "VDISR_EL2",
    (3, 4, 5, 2, 3): "VSESR_EL2",
    (3, 0, 9, 9, 0): "PMSCR_EL1",
    (3, 0, 9, 9, 2): "PMSICR_EL1",
    (3, 0, 9, 9, 3): "PMSIRR_EL1",
    (3, 0, 9, 9, 4): "PMSFCR_EL1",
    (3, 0, 9, 9, 5): "PMSEVFR_EL1",
    (3, 0, 9, 9, 6): "PMSLATFR_EL1",
    (3, 0, 9, 9, 7): "PMSIDR_EL1",
    (3, 0, 9, 10, 0): "PMBLIMITR_EL1",
    (3, 0, 9, 10, 1): "PMBPTR_EL1",
    (3, 0, 9, 10, 3): "PMBSR_EL1",
    (3, 0, 9, 10, 7): "PMBIDR_EL1",
    (3, 4, 9, 9, 0): "PMSCR_EL2",
    (3, 5, 9, 9, 0): "PMSCR_EL12",
    (3, 3, 4, 2, 6): "SSBS",
}
