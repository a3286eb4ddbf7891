"""All that the engine has: Armv8.5 with VHE, LSE, pointer authentication and BTI; no SVE, no half precision.

Not there although the engine's model says so: SVE and half precision (words that end the process), RNDR
(not the same twice).
"""

from __future__ import annotations

from emu.cpu.cores.aarch32 import ID_REGISTERS

NAME = "max"
MIDR = 0x000F_0510
PMCR = 0x4101_3000
FEATURES = frozenset(
    {
        "FEAT_VHE",
        "FEAT_PAN2",
        "FEAT_UAO",
        "FEAT_LOR",
        "FEAT_LSE",
        "FEAT_LRCPC",
        "FEAT_DPB",
        "FEAT_PAuth",
        "FEAT_BTI",
        "FEAT_PMUv3p4",
    }
)
IDENTIFICATION = {
    **ID_REGISTERS,
    (3, 0, 0, 1, 1): 0x1_1011,
    (3, 0, 0, 1, 2): 0x501_0066,  # ID_DFR0_EL1
    (3, 0, 0, 1, 4): 0x1010_1105,  # ID_MMFR0_EL1
    (3, 0, 0, 2, 4): 0x1_1142,
    (3, 0, 0, 2, 5): 0x1101_1121,
    (3, 0, 0, 2, 6): 0x1_1010,  # ID_MMFR4_EL1
    (3, 0, 0, 2, 7): 0x1_1011,  # ID_ISAR6_EL1
    (3, 0, 0, 4, 0): 0x2222,  # ID_AA64PFR0_EL1
    (3, 0, 0, 4, 1): 1,  # ID_AA64PFR1_EL1: BT
    (3, 0, 0, 5, 0): 0x1030_5506,  # ID_AA64DFR0_EL1
    (3, 0, 0, 6, 0): 0x0020_1111_1021_2120,  # ID_AA64ISAR0_EL1
    (3, 0, 0, 6, 1): 0x0111_0121_1012,  # ID_AA64ISAR1_EL1
    (3, 0, 0, 7, 0): 0x1124,  # ID_AA64MMFR0_EL1
    (3, 0, 0, 7, 1): 0x21_1120,  # ID_AA64MMFR1_EL1
    (3, 0, 0, 7, 2): 0x11,  # ID_AA64MMFR2_EL1
}
