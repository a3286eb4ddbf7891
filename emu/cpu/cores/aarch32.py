"""ID registers of AArch32 that read the same on cores from Armv8.2 on.

:source: Neoverse N1 TRM (100616), B2
"""

from __future__ import annotations

ID_REGISTERS = {
    (3, 0, 0, 1, 0): 0x131,  # ID_PFR0_EL1
    (3, 0, 0, 1, 5): 0x4000_0000,
    (3, 0, 0, 1, 6): 0x126_0000,
    (3, 0, 0, 1, 7): 0x212_2211,
    (3, 0, 0, 2, 0): 0x210_1110,  # ID_ISAR0_EL1
    (3, 0, 0, 2, 1): 0x1311_2111,
    (3, 0, 0, 2, 2): 0x2123_2042,
    (3, 0, 0, 2, 3): 0x111_2131,
    (3, 0, 0, 3, 0): 0x1011_0222,  # MVFR0_EL1
    (3, 0, 0, 3, 1): 0x1211_1111,
    (3, 0, 0, 3, 2): 0x43,
}
