"""Fields of the ID registers, and of those that say which caches there are.

:source: Arm DDI 0487, D24.2: MIDR_EL1, MPIDR_EL1, ID_AA64*_EL1, CTR_EL0, CLIDR_EL1, CCSIDR_EL1, CSSELR_EL1,
    DCZID_EL0
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, fields, of_four_bits

_IMPLEMENTERS = {
    0x00: "reserved for software",
    0x41: "Arm",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
}
_IMPLEMENTERS |= {0x48: "HiSilicon", 0x4E: "NVIDIA", 0x50: "Applied Micro", 0x51: "Qualcomm", 0x53: "Samsung"}
_IMPLEMENTERS |= {0x61: "Apple", 0xC0: "Ampere"}
_PARTS = {0xD03: "Cortex-A53", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD0C: "Neoverse N1"}
_LEVEL = {0: "not implemented", 1: "AArch64", 2: "AArch64 and AArch32"}
_RANGE = {0: "32 bits", 1: "36 bits", 2: "40 bits", 3: "42 bits", 4: "44 bits", 5: "48 bits", 6: "52 bits"}
_ASID = {0: "8 bits", 2: "16 bits"}
_GRANULE = {0: "supported", 1: "supported, 52 bits", 15: "not supported"}
_GRANULE_16 = {0: "not supported", 1: "supported", 2: "supported, 52 bits"}
_CACHE = {0: "none", 1: "instruction", 2: "data", 3: "separate", 4: "unified"}
_NOT_15 = {0: "implemented", 15: "not implemented"}


def _words_of_4(value: int) -> str:
    return f"{4 << value} bytes"


_MIDR = fields(
    "Revision 3:0\nPartNum 15:4\nArchitecture 19:16\nVariant 23:20\nImplementer 31:24",
    PartNum=_PARTS,
    Architecture={15: "by ID registers"},
    Implementer=_IMPLEMENTERS,
)
_MPIDR = fields(
    "Aff0 7:0\nAff1 15:8\nAff2 23:16\nMT 24 Aff0 is a thread\nU 30 uniprocessor\nRES1_31 31\nAff3 39:32"
)

IDENTIFICATION: dict[str, Fields] = {
    "MIDR_EL1": _MIDR,
    "VPIDR_EL2": _MIDR,
    "MPIDR_EL1": _MPIDR,
    "VMPIDR_EL2": _MPIDR,
    "ID_AA64PFR0_EL1": of_four_bits(
        "EL0 EL1 EL2 EL3 FP AdvSIMD GIC RAS SVE SEL2 MPAM AMU DIT RME CSV2 CSV3",
        **dict.fromkeys(("EL0", "EL1", "EL2", "EL3"), _LEVEL),
        **dict.fromkeys(("FP", "AdvSIMD"), {**_NOT_15, 1: "with half precision"}),
        GIC={0: "no system registers", 1: "GICv3, GICv4", 3: "GICv4.1"},
    ),
    "ID_AA64PFR1_EL1": of_four_bits(
        "BT SSBS MTE RAS_frac MPAM_frac - SME RNDR_trap CSV2_frac NMI MTE_frac GCS THE MTEX DF2 PFAR"
    ),
    "ID_AA64DFR0_EL1": of_four_bits(
        "DebugVer TraceVer PMUVer BRPs PMSS WRPs SEBEP CTX_CMPs PMSVer DoubleLock TraceFilt TraceBuffer "
        "MTPMU BRBE ExtTrcBuff HPMN0",
        DebugVer={6: "Armv8", 7: "Armv8 with VHE", 8: "Armv8.2", 9: "Armv8.4", 10: "Armv8.8"},
        PMUVer={0: "none", 1: "PMUv3", 4: "PMUv3p1", 5: "PMUv3p4", 6: "PMUv3p5", 7: "PMUv3p7"},
        DoubleLock=_NOT_15,
    ),
    "ID_AA64DFR1_EL1": fields(
        """
        SYSPMUID 7:0
        BRPs 15:8
        WRPs 23:16
        CTX_CMPs 31:24
        SPMU 35:32
        PMICNTR 39:36
        ABLE 43:40
        ITE 47:44
        EBEP 51:48
        DPFZS 55:52
        ABL_CMPs 63:56
        """
    ),
    "ID_AA64ISAR0_EL1": of_four_bits(
        "- AES SHA1 SHA2 CRC32 Atomic TME RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR",
        AES={1: "AES", 2: "AES, PMULL"},
        Atomic={0: "none", 2: "LSE", 3: "LSE128"},
    ),
    "ID_AA64ISAR1_EL1": of_four_bits(
        "DPB APA API JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64"
    ),
    "ID_AA64MMFR0_EL1": of_four_bits(
        "PARange ASIDBits BigEnd SNSMem BigEndEL0 TGran16 TGran64 TGran4 TGran16_2 TGran64_2 TGran4_2 "
        "ExS - - FGT ECV",
        PARange=_RANGE,
        ASIDBits=_ASID,
        TGran16=_GRANULE_16,
        TGran64={0: "supported", 15: "not supported"},
        TGran4=_GRANULE,
    ),
    "ID_AA64MMFR1_EL1": of_four_bits(
        "HAFDBS VMIDBits VH HPDS LO PAN SpecSEI XNX TWED ETS HCX AFP nTLBPA TIDCP1 CMOW ECBHB",
        VMIDBits=_ASID,
        VH={0: "no VHE", 1: "VHE"},
    ),
    "ID_AA64MMFR2_EL1": of_four_bits(
        "CnP UAO LSM IESB VARange CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD",
        VARange={0: "48 bits", 1: "52 bits with 64 KiB", 2: "56 bits"},
    ),
    "CTR_EL0": fields(
        """
        IminLine 3:0
        L1Ip 15:14
        DminLine 19:16
        ERG 23:20
        CWG 27:24
        IDC 28 no clean to unification
        DIC 29 no invalidate to unification
        RES1_31 31
        TminLine 37:32
        """,
        IminLine=_words_of_4,
        DminLine=_words_of_4,
        ERG=_words_of_4,
        CWG=_words_of_4,
        L1Ip={0: "VPIPT", 1: "AIVIVT", 2: "VIPT", 3: "PIPT"},
    ),
    "CLIDR_EL1": fields(
        "\n".join(f"Ctype{level} {3 * level - 1}:{3 * level - 3}" for level in range(1, 8))
        + "\nLoUIS 23:21\nLoC 26:24\nLoUU 29:27\nICB 32:30\n"
        + "\n".join(f"Ttype{level} {32 + 2 * level}:{31 + 2 * level}" for level in range(1, 8)),
        **{f"Ctype{level}": _CACHE for level in range(1, 8)},
    ),
    # Without FEAT_CCIDX, which no core has here.
    "CCSIDR_EL1": fields(
        "LineSize 2:0\nAssociativity 12:3\nNumSets 27:13\nUNKNOWN 31:28",
        LineSize=lambda value: f"{16 << value} bytes",
        Associativity=lambda value: f"{value + 1} ways",
        NumSets=lambda value: f"{value + 1} sets",
    ),
    "CSSELR_EL1": fields(
        "InD 0 instruction cache\nLevel 3:1\nTnD 4", Level=lambda value: f"level {value + 1}"
    ),
    "DCZID_EL0": fields("BS 3:0\nDZP 4 DC ZVA prohibited", BS=_words_of_4),
}
