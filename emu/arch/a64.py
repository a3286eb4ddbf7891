"""Classify A64 instruction words by their effects on other PEs (Arm DDI 0487, C4).

Only classes that the emulator treats differ; every other instruction is invisible to other PEs.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache


class Class(IntEnum):
    """Class of an instruction word."""

    INVISIBLE = 0
    MEMORY = 1  # load, store or atomic, not exclusive
    LOAD_EXCLUSIVE = 2
    STORE_EXCLUSIVE = 3
    BARRIER = 4  # DSB, DMB, ISB
    CACHE = 5  # DC, IC
    TLB = 6  # TLBI
    ZERO = 7  # DC ZVA
    WFE = 8
    WFI = 9
    SEV = 10
    SEVL = 11
    YIELD = 12
    CLREX = 13
    EXCEPTION = 14  # SVC, HVC, SMC, BRK, HLT
    MRS = 15
    MSR = 16  # register form
    ERET = 17
    SPIN = 18  # B to itself
    FP = 19  # any use of the SIMD and floating-point registers
    AT = 20


# Classes whose execution other actors can observe: the steps of schedulers and memory models.
OBSERVABLE = frozenset(
    {
        Class.MEMORY,
        Class.LOAD_EXCLUSIVE,
        Class.STORE_EXCLUSIVE,
        Class.BARRIER,
        Class.CACHE,
        Class.TLB,
        Class.ZERO,
        Class.WFE,
        Class.WFI,
        Class.SEV,
        Class.SEVL,
        Class.YIELD,
        Class.EXCEPTION,
        Class.SPIN,
    }
)

_HINTS = {1: Class.YIELD, 2: Class.WFE, 3: Class.WFI, 4: Class.SEV, 5: Class.SEVL}
_BARRIERS = {
    1: Class.BARRIER,  # DSB with the nXS qualifier
    2: Class.CLREX,
    4: Class.BARRIER,
    5: Class.BARRIER,
    6: Class.BARRIER,
    7: Class.BARRIER,  # SB
}
B_SELF = 0x1400_0000
_ERETS = frozenset({0xD69F_03E0, 0xD69F_0BFF, 0xD69F_0FFF})  # ERET, ERETAA, ERETAB
_FPCR_OR_FPSR = 0xD51B_4400  # MSR and MRS differ in bit 21, FPCR and FPSR in bit 5


def _system(word: int) -> Class:
    # Words whose top byte is 0xD5: hints, barriers, SYS, MRS and MSR.
    if word & 0xFFFF_F01F == 0xD503_201F:
        return _HINTS.get(word >> 5 & 0x7F, Class.INVISIBLE)
    if word & 0xFFFF_F01F == 0xD503_301F:
        return _BARRIERS.get(word >> 5 & 7, Class.INVISIBLE)
    if word & 0xFFF8_0000 == 0xD508_0000:
        op1, crn, crm, op2 = word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7
        if crn in (8, 9):
            return Class.TLB
        if crn != 7:
            return Class.INVISIBLE
        if crm in (8, 9):
            return Class.AT
        return Class.ZERO if (op1, crm, op2) == (3, 4, 1) else Class.CACHE
    if word & 0xFFF0_0000 == 0xD530_0000:
        return Class.MRS
    if word & 0xFFF0_0000 == 0xD510_0000:
        return Class.MSR
    return Class.INVISIBLE


@lru_cache(maxsize=1 << 16)
def classify(word: int) -> Class:
    """Return the class of a 32-bit A64 instruction word."""
    top = word >> 24
    if top == 0xD5:
        return _system(word)
    if word & 0x0A00_0000 == 0x0800_0000:  # loads and stores
        if word & 0x3F80_0000 == 0x0800_0000:  # exclusive: o2 (bit 23) clear
            if word & 0x80A0_0000 == 0x0020_0000:
                return Class.MEMORY  # CASP
            return Class.LOAD_EXCLUSIVE if word & 0x40_0000 else Class.STORE_EXCLUSIVE
        if word & 0xFF00_0000 == 0xD800_0000 or word & 0xFFC0_0000 == 0xF980_0000:
            return Class.INVISIBLE  # PRFM (literal, unsigned offset)
        if word & 0xFFE0_0C00 in (0xF8A0_0800, 0xF880_0000):
            return Class.INVISIBLE  # PRFM (register), PRFUM
        return Class.MEMORY
    if top == 0xD4:
        return Class.EXCEPTION
    if word == B_SELF:
        return Class.SPIN
    if word in _ERETS:
        return Class.ERET
    if word & 0x0E00_0000 == 0x0E00_0000:
        return Class.FP
    return Class.INVISIBLE


def uses_fp(word: int) -> bool:
    """Tell whether the word reads or writes SIMD and floating-point state (CPACR_EL1.FPEN applies)."""
    if word & 0x0C00_0000 == 0x0C00_0000:  # data processing, and loads and stores with V (bit 26) set
        return True
    return word & 0xFFDF_FFC0 == _FPCR_OR_FPSR


def needs_monitor(word: int) -> bool:
    """Tell whether the word is a load-exclusive or an atomic instruction (FEAT_LSE): CAS, SWP, LDADD."""
    if classify(word) is Class.LOAD_EXCLUSIVE:
        return True
    compares = word & 0x3FA0_7C00 == 0x08A0_7C00 or word & 0xBFA0_7C00 == 0x0820_7C00  # CAS, CASP
    return compares or word & 0x3B20_0C00 == 0x3820_0000


def is_acquire_pc(word: int) -> bool:
    """Tell whether the word is an LDAPR (FEAT_LRCPC), LDAPUR or STLUR (FEAT_LRCPC2)."""
    return word & 0x3FFF_FC00 == 0x38BF_C000 or word & 0x3F20_0C00 == 0x1900_0000


def is_quad_access(word: int) -> bool:
    """Tell whether the word loads or stores whole SIMD registers of 16 bytes: LDR, STR, LDP, STP of Q."""
    if word & 0x3F00_0000 == 0x1C00_0000:  # literal
        return word >> 30 == 2
    if word & 0x3E00_0000 == 0x2C00_0000:  # pair
        return word >> 30 == 2
    return word & 0xFE80_0000 == 0x3C80_0000


def is_msr_daif(word: int) -> bool:
    """Tell whether the word is MSR DAIFSet or MSR DAIFClr, immediate."""
    return word & 0xFFFF_F0DF == 0xD503_40DF


def is_branch(word: int) -> bool:
    """Tell whether the word may change the PC to something other than the next instruction."""
    top = word >> 24
    if top & 0x7C == 0x14:  # B, BL
        return True
    if top == 0x54 or top & 0x7E in (0x34, 0x36):  # B.cond, CBZ/CBNZ, TBZ/TBNZ
        return True
    return top in (0xD6, 0xD7, 0xD4)  # BR/BLR/RET/ERET and their PAuth forms, exception generation


def branch_target(word: int, pc: int) -> int | None:
    """Return the target of a direct branch at ``pc`` when taken; None for calls (BL) and other words.

    :source: Arm DDI 0487, C4.1.65 (branches)
    """
    top = word >> 24
    if top & 0xFC == 0x14:  # B
        bits, low = 26, 0
    elif top == 0x54 or top & 0x7E == 0x34:  # B.cond, CBZ and CBNZ
        bits, low = 19, 5
    elif top & 0x7E == 0x36:  # TBZ and TBNZ
        bits, low = 14, 5
    else:
        return None
    offset = word >> low & (1 << bits) - 1
    return pc + 4 * (offset - (offset >> bits - 1 << bits))


def system_register(word: int) -> tuple[int, int, int, int, int]:
    """Return (op0, op1, CRn, CRm, op2) of an MRS, MSR (register) or SYS word."""
    return (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7)
