"""Fields of the AArch32 ID registers, as AArch64 reads them.

:source: Arm DDI 0487, D24.2: ID_PFR0_EL1, ID_PFR1_EL1, ID_DFR0_EL1, ID_MMFR0_EL1 to ID_MMFR4_EL1,
    ID_ISAR0_EL1 to ID_ISAR6_EL1, MVFR0_EL1 to MVFR2_EL1
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, of_four_bits

_SETS = {0: "none", 1: "16 registers of 64 bits", 2: "32 registers of 64 bits"}
_DEBUG = {0: "none", 6: "Armv8", 7: "Armv8 with VHE", 8: "Armv8.2", 9: "Armv8.4", 10: "Armv8.8"}
_PMU = {0: "none", 3: "PMUv3", 4: "PMUv3p1", 5: "PMUv3p4", 6: "PMUv3p5", 7: "PMUv3p7"}

AARCH32: dict[str, Fields] = {
    "ID_PFR0_EL1": of_four_bits(
        "State0 State1 State2 State3 CSV2 AMU DIT RAS",
        State0={0: "no A32", 1: "A32"},
        State1={0: "no T32", 1: "T32 of 16 bits", 3: "T32"},
        State2={0: "no Jazelle", 1: "trivial Jazelle"},
        State3={0: "no T32EE", 1: "T32EE"},
    ),
    "ID_PFR1_EL1": of_four_bits(
        "ProgMod Security MProgMod Virtualization GenTimer Sec_frac Virt_frac GIC",
        Security={0: "no EL3", 1: "EL3"},
        Virtualization={0: "no EL2", 1: "EL2"},
        GenTimer={0: "none", 1: "generic timer", 2: "generic timer with event stream scale"},
        GIC={0: "no system registers", 1: "GICv3, GICv4", 3: "GICv4.1"},
    ),
    "ID_DFR0_EL1": of_four_bits(
        "CopDbg CopSDbg MMapDbg CopTrc MMapTrc MProfDbg PerfMon TraceFilt",
        CopDbg=_DEBUG,
        CopSDbg=_DEBUG,
        PerfMon=_PMU,
    ),
    "ID_MMFR0_EL1": of_four_bits(
        "VMSA PMSA OuterShr ShareLvl TCM AuxReg FCSE InnerShr",
        VMSA={0: "none", 3: "VMSAv7", 4: "VMSAv7 with PXN", 5: "VMSAv7 with PXN and long descriptors"},
        ShareLvl={0: "one level", 1: "two levels"},
        **dict.fromkeys(("OuterShr", "InnerShr"), {0: "Non-cacheable", 1: "coherent", 15: "ignored"}),
    ),
    "ID_MMFR1_EL1": of_four_bits("L1HvdVA L1UniVA L1HvdSW L1UniSW L1Hvd L1Uni L1TstCln BPred"),
    "ID_MMFR2_EL1": of_four_bits("L1HvdFG L1HvdBG L1HvdRng HvdTLB UniTLB MemBarr WFIStall HWAccFlg"),
    "ID_MMFR3_EL1": of_four_bits(
        "CMaintVA CMaintSW BPMaint MaintBcst PAN CohWalk CMemSz Supersec",
        MaintBcst={0: "local", 1: "caches and branch predictors", 2: "caches, branch predictors, TLBs"},
        CMemSz={0: "4 GiB", 1: "64 GiB", 2: "1 TiB or more"},
        Supersec={0: "supersections", 15: "no supersections"},
    ),
    "ID_MMFR4_EL1": of_four_bits("SpecSEI AC2 XNX CnP HPDS LSM CCIDX EVT"),
    "ID_ISAR0_EL1": of_four_bits(
        "Swap BitCount BitField CmpBranch Coproc Debug Divide",
        Divide={0: "none", 1: "in T32", 2: "in T32 and A32"},
    ),
    "ID_ISAR1_EL1": of_four_bits("Endian Except Except_AR Extend IfThen Immediate Interwork Jazelle"),
    "ID_ISAR2_EL1": of_four_bits("LoadStore MemHint MultiAccessInt Mult MultS MultU PSR_AR Reversal"),
    "ID_ISAR3_EL1": of_four_bits("Saturate SIMD SVC SynchPrim TabBranch T32Copy TrueNOP T32EE"),
    "ID_ISAR4_EL1": of_four_bits("Unpriv WithShifts Writeback SMC Barrier SynchPrim_frac PSR_M SWP_frac"),
    "ID_ISAR5_EL1": of_four_bits(
        "SEVL AES SHA1 SHA2 CRC32 - RDM VCMA", AES={0: "none", 1: "AES", 2: "AES, PMULL"}
    ),
    "ID_ISAR6_EL1": of_four_bits("JSCVT DP FHM SB SPECRES BF16 I8MM CLRBHB"),
    "MVFR0_EL1": of_four_bits(
        "SIMDReg FPSP FPDP FPTrap FPDivide FPSqrt FPShVec FPRound",
        SIMDReg=_SETS,
        **dict.fromkeys(("FPSP", "FPDP"), {0: "none", 1: "VFPv2", 2: "VFPv3 or later"}),
    ),
    "MVFR1_EL1": of_four_bits(
        "FPFtZ FPDNaN SIMDLS SIMDInt SIMDSP SIMDHP FPHP SIMDFMAC",
        FPHP={0: "none", 1: "to and from single", 2: "to and from single and double", 3: "with arithmetic"},
        SIMDHP={0: "none", 1: "conversions", 2: "with arithmetic"},
    ),
    "MVFR2_EL1": of_four_bits("SIMDMisc FPMisc"),
}
