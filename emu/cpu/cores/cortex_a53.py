"""Arm Cortex-A53: Armv8.0 with CRC32 and cryptography, physical addresses of 40 bits."""

from __future__ import annotations

from emu.cpu.cores.cortex_v8_0 import UNMODELLED as OF_ALL

NAME = "cortex-a53"
MIDR = 0x410F_D034
PMCR = 0x4103_3000
IDENTIFICATION = {
    (3, 0, 0, 1, 4): 0x1010_1105,  # ID_MMFR0_EL1
    (3, 0, 0, 7, 0): 0x1122,  # ID_AA64MMFR0_EL1: PARange 40 bits
    (3, 3, 0, 0, 1): 0x8444_8004,  # CTR_EL0
}
CCSIDR = {0: 0x700F_E01A, 1: 0x201F_E00A, 2: 0x707F_E07A}
UNMODELLED = OF_ALL
