"""System registers by name: encodings, and the fields that the emulator uses (Arm DDI 0487, D24)."""

from __future__ import annotations

Encoding = tuple[int, int, int, int, int]  # op0, op1, CRn, CRm, op2

MDSCR_EL1: Encoding = (2, 0, 0, 2, 2)
OSDTRRX_EL1: Encoding = (2, 0, 0, 0, 2)
OSDTRTX_EL1: Encoding = (2, 0, 0, 3, 2)
OSECCR_EL1: Encoding = (2, 0, 0, 6, 2)
OSLSR_EL1: Encoding = (2, 0, 1, 1, 4)
DBGPRCR_EL1: Encoding = (2, 0, 1, 4, 4)
OSDLR_EL1: Encoding = (2, 0, 1, 3, 4)
DBGCLAIMCLR_EL1: Encoding = (2, 0, 7, 9, 6)
MIDR_EL1: Encoding = (3, 0, 0, 0, 0)
MPIDR_EL1: Encoding = (3, 0, 0, 0, 5)
ID_AA64PFR0_EL1: Encoding = (3, 0, 0, 4, 0)
ID_AA64PFR1_EL1: Encoding = (3, 0, 0, 4, 1)
ID_AA64DFR0_EL1: Encoding = (3, 0, 0, 5, 0)
ID_AA64ISAR0_EL1: Encoding = (3, 0, 0, 6, 0)
ID_AA64ISAR1_EL1: Encoding = (3, 0, 0, 6, 1)
ID_AA64MMFR0_EL1: Encoding = (3, 0, 0, 7, 0)
ID_AA64MMFR1_EL1: Encoding = (3, 0, 0, 7, 1)
ID_AA64MMFR2_EL1: Encoding = (3, 0, 0, 7, 2)
SCTLR_EL1: Encoding = (3, 0, 1, 0, 0)
SCTLR_EL2: Encoding = (3, 4, 1, 0, 0)
SCTLR_EL3: Encoding = (3, 6, 1, 0, 0)
CPACR_EL1: Encoding = (3, 0, 1, 0, 2)
HCR_EL2: Encoding = (3, 4, 1, 1, 0)
PMUSERENR_EL0: Encoding = (3, 3, 9, 14, 0)
PMCR_EL0: Encoding = (3, 3, 9, 12, 0)
MDCR_EL2: Encoding = (3, 4, 1, 1, 1)
PMSELR_EL0: Encoding = (3, 3, 9, 12, 5)
CPTR_EL2: Encoding = (3, 4, 1, 1, 2)
SCR_EL3: Encoding = (3, 6, 1, 1, 0)
TTBR0_EL1: Encoding = (3, 0, 2, 0, 0)
TTBR1_EL1: Encoding = (3, 0, 2, 0, 1)
TCR_EL1: Encoding = (3, 0, 2, 0, 2)
MAIR_EL1: Encoding = (3, 0, 10, 2, 0)
HSTR_EL2: Encoding = (3, 4, 1, 1, 3)
ICC_SRE_EL1: Encoding = (3, 0, 12, 12, 5)
ICC_SRE_EL2: Encoding = (3, 4, 12, 9, 5)
ICH_HCR_EL2: Encoding = (3, 4, 12, 11, 0)
ICH_VTR_EL2: Encoding = (3, 4, 12, 11, 1)
VTTBR_EL2: Encoding = (3, 4, 2, 1, 0)
VTCR_EL2: Encoding = (3, 4, 2, 1, 2)
CNTVOFF_EL2: Encoding = (3, 4, 14, 0, 3)
TTBR0_EL2: Encoding = (3, 4, 2, 0, 0)
TTBR1_EL2: Encoding = (3, 4, 2, 0, 1)
TCR_EL2: Encoding = (3, 4, 2, 0, 2)
MAIR_EL2: Encoding = (3, 4, 10, 2, 0)
VBAR_EL1: Encoding = (3, 0, 12, 0, 0)
VBAR_EL2: Encoding = (3, 4, 12, 0, 0)
CONTEXTIDR_EL1: Encoding = (3, 0, 13, 0, 1)
TPIDR_EL0: Encoding = (3, 3, 13, 0, 2)
TPIDRRO_EL0: Encoding = (3, 3, 13, 0, 3)
TPIDR_EL1: Encoding = (3, 0, 13, 0, 4)
TPIDR_EL2: Encoding = (3, 4, 13, 0, 2)
VPIDR_EL2: Encoding = (3, 4, 0, 0, 0)
VMPIDR_EL2: Encoding = (3, 4, 0, 0, 5)
SPSR_EL1: Encoding = (3, 0, 4, 0, 0)
SPSR_EL2: Encoding = (3, 4, 4, 0, 0)
CCSIDR_EL1: Encoding = (3, 1, 0, 0, 0)
CLIDR_EL1: Encoding = (3, 1, 0, 0, 1)
CSSELR_EL1: Encoding = (3, 2, 0, 0, 0)
ELR_EL1: Encoding = (3, 0, 4, 0, 1)
ELR_EL2: Encoding = (3, 4, 4, 0, 1)
ESR_EL1: Encoding = (3, 0, 5, 2, 0)
FAR_EL1: Encoding = (3, 0, 6, 0, 0)
CTR_EL0: Encoding = (3, 3, 0, 0, 1)
DCZID_EL0: Encoding = (3, 3, 0, 0, 7)
CNTKCTL_EL1: Encoding = (3, 0, 14, 1, 0)
CNTHCTL_EL2: Encoding = (3, 4, 14, 1, 0)
EVNTEN = 1 << 2  # of both: the event stream is on
CNTFRQ_EL0: Encoding = (3, 3, 14, 0, 0)
CNTPCT_EL0: Encoding = (3, 3, 14, 0, 1)
CNTVCT_EL0: Encoding = (3, 3, 14, 0, 2)

NAMES: dict[Encoding, str] = {
    value: name for name, value in list(globals().items()) if name.isupper() and isinstance(value, tuple)
}

# No register, but kept like one: what a PE has written at EL2 (emu.operation.WrittenAtEl2).
WRITTEN_AT_EL2: Encoding = (4, 0, 0, 0, 0)

# Fields of ID_AA64PFR0_EL1, ID_AA64MMFR0_EL1 and ID_AA64MMFR2_EL1, high bit first as in the manual.
PFR0_GIC = (27, 24)
MMFR0_TGRAN4 = (31, 28)
MMFR0_TGRAN64 = (27, 24)
MMFR0_TGRAN16 = (23, 20)
MMFR2_VARANGE = (19, 16)

# Bits of HCR_EL2.
HCR_TGE, HCR_RW, HCR_E2H = 1 << 27, 1 << 31, 1 << 34


CACHES = range(14)  # values of CSSELR_EL1: level (from 0) << 1 | instruction cache


def ccsidr(cache: int) -> Encoding:
    """Return what names CCSIDR_EL1 of one cache, by CSSELR_EL1: no encoding that an instruction has."""
    return (*CCSIDR_EL1[:4], 8 + cache)


def name(encoding: Encoding) -> str:
    """Return the register's name, or its generic S<op0>_<op1>_C<n>_C<m>_<op2> spelling."""
    if encoding[:4] == CCSIDR_EL1[:4] and encoding[4] >= 8:
        return f"CCSIDR_EL1[{encoding[4] - 8}]"
    return NAMES.get(encoding) or generic_name(encoding)


def generic_name(encoding: Encoding) -> str:
    """Return the spelling S<op0>_<op1>_C<n>_C<m>_<op2>, which names any register."""
    op0, op1, crn, crm, op2 = encoding
    return f"S{op0}_{op1}_C{crn}_C{crm}_{op2}"


def lowest_el(encoding: Encoding) -> int:
    """Return the lowest EL that may access a register of this op1, where nothing else is said of it.

    :source: Arm DDI 0487, C5.1.3, table of op1 values
    """
    return {3: 0, 4: 2, 5: 2, 6: 3, 7: 3}.get(encoding[1], 1)


def set_field(value: int, field: tuple[int, int], bits: int) -> int:
    """Return ``value`` with the (high, low) field replaced by ``bits``."""
    high, low = field
    mask = ((1 << high - low + 1) - 1) << low
    return value & ~mask | bits << low & mask
