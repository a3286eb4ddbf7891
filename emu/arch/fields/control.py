"""Fields of the registers that control a PE, and what it traps.

:source: Arm DDI 0487, D24.2: SCTLR_ELx, CPACR_EL1, CPTR_EL2, HCR_EL2, HSTR_EL2, SCR_EL3
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, fields

_SCTLR = """
    M 0 MMU on
    A 1 alignment checked
    C 2 data cacheable
    SA 3 SP alignment checked
    SA0 4 SP alignment checked at EL0
    CP15BEN 5
    nAA 6
    ITD 7
    SED 8
    UMA 9
    EnRCTX 10
    EOS 11
    I 12 instructions cacheable
    EnDB 13
    DZE 14 DC ZVA at EL0
    UCT 15 CTR_EL0 at EL0
    nTWI 16 WFI at EL0
    nTWE 18 WFE at EL0
    WXN 19 writable is execute-never
    TSCXT 20
    IESB 21
    EIS 22
    SPAN 23 PAN kept by exceptions
    E0E 24 EL0 big-endian
    EE 25 big-endian
    UCI 26 cache maintenance at EL0
    EnDA 27
    nTLSMD 28
    LSMAOE 29
    EnIB 30
    EnIA 31
    CMOW 32
    MSCEn 33
    EnFPM 34
    BT0 35
    BT1 36
    ITFSB 37
    TCF0 39:38
    TCF 41:40
    ATA0 42
    ATA 43
    DSSBS 44
    TWEDEn 45
    TWEDEL 49:46
    TMT0 50
    TMT 51
    TME0 52
    TME 53
    EnASR 54
    EnAS0 55
    EnALS 56
    EPAN 57
    TCSO0 58
    TCSO 59
    EnTP2 60
    NMI 61
    SPINTMASK 62
    TIDCP 63
"""
_FPEN = dict(enumerate(("trapped", "trapped from EL0", "trapped", "not trapped")))
_CPACR = """
    ZEN 17:16
    FPEN 21:20
    SMEN 25:24
    TTA 28
    E0POE 29
    TAM 30
    TCPAC 31
"""

CONTROL: dict[str, Fields] = {
    "SCTLR_EL1": fields(_SCTLR),
    "SCTLR_EL2": fields(_SCTLR),
    "SCTLR_EL3": fields(_SCTLR),
    "CPACR_EL1": fields(_CPACR, ZEN=_FPEN, FPEN=_FPEN, SMEN=_FPEN),
    "CPTR_EL2": fields(
        """
        RES1_7_0 7:0
        TZ 8
        RES1_9 9
        TFP 10 FP and SIMD trapped
        TSM 12
        RES1_13 13
        TTA 20
        TAM 30
        TCPAC 31 CPACR_EL1 trapped
        """
    ),
    "HCR_EL2": fields(
        """
        VM 0 stage 2 on
        SWIO 1
        PTW 2 walks of Device memory fault
        FMO 3 FIQs to EL2
        IMO 4 IRQs to EL2
        AMO 5 SErrors to EL2
        VF 6 virtual FIQ pending
        VI 7 virtual IRQ pending
        VSE 8 virtual SError pending
        FB 9
        BSU 11:10
        DC 12
        TWI 13 WFI trapped
        TWE 14 WFE trapped
        TID0 15
        TID1 16
        TID2 17
        TID3 18
        TSC 19 SMC trapped
        TIDCP 20
        TACR 21
        TSW 22
        TPCP 23
        TPU 24
        TTLB 25
        TVM 26
        TGE 27 EL0 is EL2's
        TDZ 28
        HCD 29 HVC disabled
        TRVM 30
        RW 31 EL1 is AArch64
        CD 32
        ID 33
        E2H 34 EL2 hosts (VHE)
        TLOR 35
        TERR 36
        TEA 37
        MIOCNCE 38
        TME 39
        APK 40
        API 41
        NV 42
        NV1 43
        AT 44
        NV2 45
        FWB 46
        FIEN 47
        GPF 48
        TID4 49
        TICAB 50
        AMVOFFEN 51
        TOCU 52
        EnSCXT 53
        TTLBIS 54
        TTLBOS 55
        ATA 56
        DCT 57
        TID5 58
        TWEDEn 59
        TWEDEL 63:60
        """,
        BSU={0: "no effect", 1: "Inner Shareable", 2: "Outer Shareable", 3: "full system"},
    ),
    "HSTR_EL2": fields("\n".join(f"T{number} {number}" for number in range(16) if number not in (4, 14))),
    "SCR_EL3": fields(
        """
        NS 0 below EL3 is Non-secure
        IRQ 1 IRQs to EL3
        FIQ 2 FIQs to EL3
        EA 3
        RES1_5_4 5:4
        SMD 7 SMC disabled
        HCE 8 HVC enabled
        SIF 9
        RW 10 EL2 is AArch64
        ST 11
        TWI 12
        TWE 13
        TLOR 14
        TERR 15
        APK 16
        API 17
        EEL2 18
        EASE 19
        NMEA 20
        FIEN 21
        EnSCXT 25
        ATA 26
        FGTEn 27
        ECVEn 28
        TWEDEn 29
        TWEDEL 33:30
        """
    ),
}
# The layout that HCR_EL2.E2H gives.
WITH_E2H: dict[str, Fields] = {"CPTR_EL2": fields(_CPACR, ZEN=_FPEN, FPEN=_FPEN, SMEN=_FPEN)}
