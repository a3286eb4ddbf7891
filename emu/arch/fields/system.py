"""Fields of the registers of timers, counters of events, self-hosted debug, LORegions and the GIC.

:source: Arm DDI 0487, D24.2 (MDCR_EL2, LORC_EL1), D24.3 (debug), D24.5 (PMU), D24.10 (Generic Timer);
    Arm IHI 0069, 12.2 (GIC)
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, fields

_CTL = fields("ENABLE 0 on\nIMASK 1 masked\nISTATUS 2 due")
_TIMERS = ("CNTP_CTL_EL0", "CNTV_CTL_EL0", "CNTHP_CTL_EL2", "CNTHV_CTL_EL2")
_KCTL = """
    EL0PCTEN 0
    EL0VCTEN 1
    EVNTEN 2 event stream on
    EVNTDIR 3
    EVNTI 7:4
    EL0VTEN 8
    EL0PTEN 9
"""
_COUNTERS = fields("P 30:0\nC 31")
_MASKS = (
    "PMCNTENSET_EL0",
    "PMCNTENCLR_EL0",
    "PMOVSCLR_EL0",
    "PMOVSSET_EL0",
    "PMINTENSET_EL1",
    "PMINTENCLR_EL1",
)
_CLAIM = fields("CLAIM 7:0")
_IMPLEMENTED = {0: "not implemented", 2: "disabled", 3: "enabled"}

SYSTEM: dict[str, Fields] = {
    **dict.fromkeys(_TIMERS, _CTL),
    "CNTKCTL_EL1": fields(f"{_KCTL}\nEVNTIS 17\nCNTVMASK 18\nCNTPMASK 19"),
    "CNTHCTL_EL2": fields(
        """
        EL1PCTEN 0
        EL1PCEN 1
        EVNTEN 2 event stream on
        EVNTDIR 3
        EVNTI 7:4
        ECV 12
        EL1TVT 13
        EL1TVCT 14
        EL1NVPCT 15
        EL1NVVCT 16
        EVNTIS 17
        CNTVMASK 18
        CNTPMASK 19
        """
    ),
    "MDCR_EL2": fields(
        """
        HPMN 4:0
        TPMCR 5
        TPM 6
        HPME 7
        TDE 8
        TDA 9
        TDOSA 10
        TDRA 11
        E2PB 13:12
        TPMS 14
        EnSPM 15
        HPMD 17
        TTRF 19
        HCCD 23
        E2TB 25:24
        HLP 26
        TDCC 27
        MTPME 28
        HPMFZO 29
        PMSSE 31:30
        HPMFZS 36
        PMEE 41:40
        EBWE 43
        """
    ),
    "PMCR_EL0": fields(
        """
        E 0 counters on
        P 1
        C 2
        D 3
        X 4
        DP 5
        LC 6
        LP 7
        FZO 9
        N 15:11
        IDCODE 23:16
        IMP 31:24
        FZS 32
        """
    ),
    "PMUSERENR_EL0": fields("EN 0\nSW 1\nCR 2\nER 3\nUEN 4\nIR 5\nTID 6"),
    **dict.fromkeys(_MASKS, _COUNTERS),
    "PMSELR_EL0": fields("SEL 4:0"),
    "PMMIR_EL1": fields("SLOTS 7:0\nBUS_SLOTS 15:8\nBUS_WIDTH 19:16\nTHWIDTH 23:20\nEDGE 27:24"),
    "MDSCR_EL1": fields(
        """
        SS 0 software step
        ERR 6
        TDCC 12
        KDE 13
        HDE 14
        MDE 15
        SC2 19
        TDA 21
        INTdis 23:22
        TXU 26
        RXO 27
        TXfull 29
        RXfull 30
        TFO 31
        EMBWE 32
        TTA 33
        EnSPM 34
        EHBWE 35
        """
    ),
    "OSLSR_EL1": fields("OSLM_0 0\nOSLK 1 locked\nnTT 2\nOSLM_1 3"),
    "OSDLR_EL1": fields("DLK 0"),
    "MDCCSR_EL0": fields("TXfull 29\nRXfull 30"),
    "DBGPRCR_EL1": fields("CORENPDRQ 0"),
    "DBGCLAIMSET_EL1": _CLAIM,
    "DBGCLAIMCLR_EL1": _CLAIM,
    "DBGAUTHSTATUS_EL1": fields(
        "NSID 1:0\nNSNID 3:2\nSID 5:4\nSNID 7:6",
        **dict.fromkeys(("NSID", "NSNID", "SID", "SNID"), _IMPLEMENTED),
    ),
    "LORC_EL1": fields("EN 0\nDS 9:2"),
    "LORID_EL1": fields("LR 7:0\nLD 23:16"),
    "LORSA_EL1": fields("Valid 0\nSA 51:16"),
    "LOREA_EL1": fields("EA 51:16"),
    "LORN_EL1": fields("Num 7:0"),
    "ICC_SRE_EL1": fields("SRE 0 system registers\nDFB 1\nDIB 2"),
    "ICC_SRE_EL2": fields("SRE 0 system registers\nDFB 1\nDIB 2\nEnable 3"),
    "ICH_HCR_EL2": fields(
        """
        En 0
        UIE 1
        LRENPIE 2
        NPIE 3
        VGrp0EIE 4
        VGrp0DIE 5
        VGrp1EIE 6
        VGrp1DIE 7
        vSGIEOICount 8
        TC 10
        TALL0 11
        TALL1 12
        TSEI 13
        TDIR 14
        DVIM 15
        EOIcount 31:27
        """
    ),
    "ICH_VTR_EL2": fields(
        "ListRegs 4:0\nTDS 19\nnV4 20\nA3V 21\nSEIS 22\nIDbits 25:23\nPREbits 28:26\nPRIbits 31:29",
        ListRegs=lambda value: f"{value + 1} list registers",
        IDbits={0: "16 bits", 1: "24 bits"},
        PREbits=lambda value: f"{value + 1} bits",
        PRIbits=lambda value: f"{value + 1} bits",
    ),
}
# The layout that HCR_EL2.E2H gives.
WITH_E2H: dict[str, Fields] = {
    "CNTHCTL_EL2": fields(
        f"{_KCTL}\nEL1PCTEN 10\nEL1PTEN 11\nECV 12\nEL1TVT 13\nEL1TVCT 14\nEL1NVPCT 15\nEL1NVVCT 16\n"
        "EVNTIS 17\nCNTVMASK 18\nCNTPMASK 19"
    )
}
