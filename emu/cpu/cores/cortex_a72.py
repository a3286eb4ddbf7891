"""Arm Cortex-A72: Armv8.0 with CRC32 and cryptography."""

from __future__ import annotations

from emu.cpu.cores.cortex_v8_0 import RAM_DATA
from emu.cpu.cores.cortex_v8_0 import UNMODELLED as OF_ALL

NAME = "cortex-a72"
MIDR = 0x410F_D083
UNMODELLED = {**OF_ALL, **RAM_DATA}
