"""Classify A64 instruction words by their effects on other PEs (Arm DDI 0487, C4).

A word that is one operation has the kind of its record. Of the others, only classes that the emulator treats
differ; every other instruction is invisible to other PEs.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

from emu.arch.sysreg import Encoding
from emu.operation import OPERATIONS, Kind


class Other(IntEnum):
    """What a word is that is no single :class:`emu.operation.Kind`; no number is one of Kind's."""

    INVISIBLE = 128
    ACCESS = 129  # load, store or atomic, not exclusive: LOADs and STOREs
    ZERO = 130  # DC ZVA: a STORE
    CLREX = 131
    MRS = 132
    MSR = 133  # register form
    ERET = 134
    FP = 135  # any use of the SIMD and floating-point registers


Class = Kind | Other  # of an instruction word

# Classes whose execution other actors can observe, and exception generation: the steps of schedulers and
# memory models. Whether a store is an event for a CPU depends on whether that has executed its CLREX.
OBSERVABLE: frozenset[Class] = OPERATIONS | {Kind.EXCEPTION, Other.ACCESS, Other.ZERO, Other.CLREX}

_HINTS: dict[int, Class] = {1: Kind.YIELD, 2: Kind.WFE, 3: Kind.WFI, 4: Kind.SEV, 5: Kind.SEVL}
_BARRIERS: dict[int, Class] = {
    1: Kind.BARRIER,  # DSB with the nXS qualifier
    2: Other.CLREX,
    4: Kind.BARRIER,
    5: Kind.BARRIER,
    6: Kind.BARRIER,
    7: Kind.BARRIER,  # SB
}
B_SELF = 0x1400_0000
DC_ZVA: Encoding = (1, 3, 7, 4, 1)
# SCTLR_EL1, _EL2 and _EL12, VBAR_EL1, _EL2 and _EL12.
_OF_MODE = frozenset((3, op1, crn, 0, 0) for op1 in (0, 4, 5) for crn in (1, 12))
_ERETS = frozenset({0xD69F_03E0, 0xD69F_0BFF, 0xD69F_0FFF})  # ERET, ERETAA, ERETAB
_FPCR_OR_FPSR = 0xD51B_4400  # MSR and MRS differ in bit 21, FPCR and FPSR in bit 5


def _system(word: int) -> Class:
    # Words whose top byte is 0xD5: hints, barriers, SYS, MRS and MSR.
    if word & 0xFFFF_F01F == 0xD503_201F:
        return _HINTS.get(word >> 5 & 0x7F, Other.INVISIBLE)
    if word & 0xFFFF_F01F == 0xD503_301F:
        return _BARRIERS.get(word >> 5 & 7, Other.INVISIBLE)
    if word & 0xFFF8_0000 == 0xD508_0000:
        op1, crn, crm, op2 = word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7
        if crn in (8, 9):
            return Kind.TLB
        if crn != 7:
            return Other.INVISIBLE
        if crm in (8, 9):
            return Other.INVISIBLE  # AT
        return Other.ZERO if (1, op1, crn, crm, op2) == DC_ZVA else Kind.CACHE
    if word & 0xFFF0_0000 == 0xD530_0000:
        return Other.MRS
    if word & 0xFFF0_0000 == 0xD510_0000:
        return Other.MSR
    return Other.INVISIBLE


@lru_cache(maxsize=1 << 16)
def classify(word: int) -> Class:
    """Return the class of a 32-bit A64 instruction word."""
    top = word >> 24
    if top == 0xD5:
        return _system(word)
    if word & 0x0A00_0000 == 0x0800_0000:  # loads and stores
        if word & 0x3F80_0000 == 0x0800_0000:  # exclusive: o2 (bit 23) clear
            if word & 0x80A0_0000 == 0x0020_0000:
                return Other.ACCESS  # CASP
            return Kind.LOAD_EXCLUSIVE if word & 0x40_0000 else Kind.STORE_EXCLUSIVE
        if word & 0xFF00_0000 == 0xD800_0000 or word & 0xFFC0_0000 == 0xF980_0000:
            return Other.INVISIBLE  # PRFM (literal, unsigned offset)
        if word & 0xFFE0_0C00 in (0xF8A0_0800, 0xF880_0000):
            return Other.INVISIBLE  # PRFM (register), PRFUM
        return Other.ACCESS
    if top == 0xD4:
        return Kind.CALL if word & 0xFFE0_001E == 0xD400_0002 else Kind.EXCEPTION  # HVC, SMC
    if word == B_SELF:
        return Kind.PARK
    if word in _ERETS:
        return Other.ERET
    if word & 0x0E00_0000 == 0x0E00_0000:
        return Other.FP
    return Other.INVISIBLE


def uses_fp(word: int) -> bool:
    """Tell whether the word reads or writes SIMD and floating-point state (CPACR_EL1.FPEN applies)."""
    if word & 0x0C00_0000 == 0x0C00_0000:  # data processing, and loads and stores with V (bit 26) set
        return True
    return word & 0xFFDF_FFC0 == _FPCR_OR_FPSR


def needs_monitor(word: int) -> bool:
    """Tell whether the word is a load-exclusive or an atomic instruction (FEAT_LSE): CAS, SWP, LDADD."""
    return classify(word) is Kind.LOAD_EXCLUSIVE or is_atomic(word)


def is_at(word: int) -> bool:
    """Tell whether the word is an AT below EL3: S1E0, S1E1, S1E2, S12E0, S12E1, S1E1RP, S1E1WP."""
    return word & 0xFFFB_FF00 == 0xD508_7800 or word & 0xFFFF_FFC0 == 0xD508_7900


def is_atomic(word: int) -> bool:
    """Tell whether the word is an atomic instruction of FEAT_LSE: CAS, CASP, SWP, LDADD and its like."""
    compares = word & 0x3FA0_7C00 == 0x08A0_7C00 or word & 0xBFA0_7C00 == 0x0820_7C00  # CAS, CASP
    if compares or word & 0x3F20_8C00 == 0x3820_0000:
        return True
    return word & 0x3F20_FC00 == 0x3820_8000  # SWP; with bit 15 and another opc LDAPR and later ones


def is_acquire_pc(word: int) -> bool:
    """Tell whether the word is an LDAPR (FEAT_LRCPC), LDAPUR or STLUR (FEAT_LRCPC2)."""
    return word & 0x3FFF_FC00 == 0x38BF_C000 or word & 0x3F20_0C00 == 0x1900_0000


def structure_element(word: int) -> int:
    """Return the bytes of an element that LD1 to LD4, or ST1 to ST4, of whole registers access; 0: others."""
    return 1 << (word >> 10 & 3) if word & 0xBF20_0000 == 0x0C00_0000 else 0


def is_quad_access(word: int) -> bool:
    """Tell whether the word loads or stores whole SIMD registers of 16 bytes: LDR, STR, LDP, STP of Q."""
    if word & 0x3F00_0000 == 0x1C00_0000:  # literal
        return word >> 30 == 2
    if word & 0x3E00_0000 == 0x2C00_0000:  # pair
        return word >> 30 == 2
    return word & 0xFE80_0000 == 0x3C80_0000


def is_by_sp(word: int) -> bool:
    """Tell whether the base register of the word, a load or store, is SP."""
    return word >> 5 & 31 == 31 and word >> 24 & 0x3B != 0x18  # not a literal


def is_by_set_way(word: int) -> bool:
    """Tell whether the word is data cache maintenance by set and way: DC ISW, CSW or CISW."""
    return word & 0xFFFF_F0E0 == 0xD508_7040 and word >> 8 & 15 in (6, 10, 14)


def is_by_va(word: int) -> bool:
    """Tell whether the word is cache maintenance of a VA: IC IVAU, DC IVAC, CVAC, CVAU, CVAP or CIVAC."""
    return word & 0xFFFF_F0E0 == 0xD50B_7020 or word & ~31 == 0xD508_7620


def is_instruction_cache(word: int) -> bool:
    """Tell whether the word is maintenance of instruction caches: IC IALLUIS, IALLU or IVAU."""
    return word & 0xFFF8_F000 == 0xD508_7000 and word >> 8 & 15 in (1, 5)


LOADS, STORES = 1, 2


def ordered_by(word: int) -> int:
    """Return what a DSB or DMB keeps apart, of LOADS | STORES (CRm[1:0]); 0: the word is neither."""
    return word >> 8 & 3 if word & 0xFFFF_F0DF == 0xD503_309F else 0


def is_msr_daif(word: int) -> bool:
    """Tell whether the word is MSR DAIFSet or MSR DAIFClr, immediate."""
    return word & 0xFFFF_F0DF == 0xD503_40DF


def changes_mode(word: int) -> bool:
    """Tell whether an instruction may lead to another exception level, or switch an MMU, by itself.

    ERET; MSR of SCTLR_ELx; and MSR of VBAR_ELx, which says where exceptions are taken to. What raises an
    exception is not among them.
    """
    return word in _ERETS or (word & 0xFFF0_0000 == 0xD510_0000 and system_register(word) in _OF_MODE)


def is_branch(word: int) -> bool:
    """Tell whether the word, by its top byte, may change the PC to something else than the next one's."""
    top = word >> 24
    if top & 0x7C == 0x14:  # B, BL
        return True
    if top == 0x54 or top & 0x7E in (0x34, 0x36):  # B.cond, CBZ/CBNZ, TBZ/TBNZ
        return True
    return top in (0xD6, 0xD7, 0xD4)  # BR/BLR/RET/ERET and their PAuth forms, exception generation


def leads_to_function(word: int) -> bool:
    """Tell whether a branch may lead to another function: B, BL, or one to a register; no conditional one."""
    return word >> 24 & 0x7C == 0x14 or word >> 24 in (0xD6, 0xD7)


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


def call_target(word: int, pc: int) -> int | None:
    """Return the target of a BL at ``pc``; None for other words."""
    offset = word & 0x3FF_FFFF
    return pc + 4 * (offset - (offset >> 25 << 26)) if word >> 26 == 0b100101 else None


def is_adrp(word: int) -> bool:
    """Tell whether the word is an ADRP, which makes the address of a page of 4 KiB."""
    return word & 0x9F00_0000 == 0x9000_0000


def pc_relative(word: int, pc: int) -> int | None:
    """Return the address (u64) that an ADR or ADRP at ``pc`` makes; None for other words."""
    if word & 0x1F00_0000 != 0x1000_0000:
        return None
    offset = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    offset -= offset >> 20 << 21
    return ((pc & ~0xFFF) + (offset << 12) if word >> 31 else pc + offset) & 2**64 - 1


def is_call(word: int) -> bool:
    """Tell whether the word is a call, which sets X30: BL, or BLR and its authenticating forms."""
    return word >> 26 == 0b100101 or word & 0xFE60_0000 == 0xD620_0000


def returns_by(word: int) -> int | None:
    """Return the number of the register that a RET goes to, RETAA and RETAB by X30; None for other words."""
    if word & 0xFFFF_FC1F == 0xD65F_0000:
        return word >> 5 & 31
    return 30 if word | 1 << 10 == 0xD65F_0FFF else None


def system_register(word: int) -> tuple[int, int, int, int, int]:
    """Return (op0, op1, CRn, CRm, op2) of an MRS, MSR (register) or SYS word."""
    return (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7)
