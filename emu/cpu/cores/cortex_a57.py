"""Arm Cortex-A57: Armv8.0 with CRC32 and cryptography."""

from __future__ import annotations

from emu.cpu.cores.cortex_v8_0 import RAM_DATA
from emu.cpu.cores.cortex_v8_0 import UNMODELLED as OF_ALL

NAME = "cortex-a57"
MIDR = 0x411F_D070
PMCR = 0x4101_3000
IDENTIFICATION = {(3, 0, 0, 1, 4): 0x1010_1105}  # ID_MMFR0_EL1
CCSIDR = {0: 0x701F_E00A, 1: 0x201F_E012, 2: 0x70FF_E07A}
UNMODELLED = {**OF_ALL, **RAM_DATA}
