"""MPIDR_EL1 and the kernel's hwid (Arm DDI 0487, MPIDR_EL1; Linux v6.12 arch/arm64/include/asm/cputype.h)."""

from __future__ import annotations

from emu.errors import InvalidCase

AFF3 = (39, 32)
RES1 = 1 << 31
U = 1 << 30
MT = 1 << 24
AFF2 = (23, 16)
AFF1 = (15, 8)
AFF0 = (7, 0)

MPIDR_HWID_BITMASK = 0xFF_00FF_FFFF
INVALID_HWID = 2**64 - 1


def hwid(mpidr: int) -> int:
    """Return the affinity fields the kernel keys CPUs by.

    :param mpidr: u64, raw MPIDR_EL1
    :return: u64; Aff3 in bits 39:32, Aff2..Aff0 in bits 23:0, all else zero
    :raises InvalidCase: mpidr does not fit 64 bits
    :source: Arm DDI 0487, MPIDR_EL1; Linux v6.12 arch/arm64/include/asm/cputype.h
    """
    if not 0 <= mpidr < 2**64:
        raise InvalidCase(f"mpidr={mpidr:#x}: MPIDR_EL1 is 64 bits wide; pass a u64")
    return mpidr & MPIDR_HWID_BITMASK


def affinity(aff3: int, aff2: int, aff1: int, aff0: int) -> int:
    """Return the hwid of four 8-bit affinity fields."""
    return aff3 << AFF3[1] | aff2 << AFF2[1] | aff1 << AFF1[1] | aff0
