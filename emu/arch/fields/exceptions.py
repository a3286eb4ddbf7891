"""Fields of the registers that exceptions are taken and returned from by, and of PSTATE.

:source: Arm DDI 0487, C5.2 (SPSR_ELx, DAIF, CurrentEL, SPSel, PAN, UAO, FPCR, FPSR), D24.2 (ESR, VBAR, HPFAR)
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, address, fields
from emu.arch.fields.syndrome import CLASSES

_MODES = {0: "EL0t", 4: "EL1t", 5: "EL1h", 8: "EL2t", 9: "EL2h", 12: "EL3t", 13: "EL3h"}
_SPSR = fields(
    """
    M 3:0
    nRW 4 AArch32
    F 6 FIQ masked
    I 7 IRQ masked
    A 8 SError masked
    D 9 debug masked
    BTYPE 11:10
    SSBS 12
    ALLINT 13
    IL 20 illegal execution state
    SS 21
    PAN 22
    UAO 23
    DIT 24
    TCO 25
    V 28
    C 29
    Z 30
    N 31
    """,
    M=_MODES,
)
_ESR = fields("ISS 24:0\nIL 25 a 32-bit instruction\nEC 31:26\nISS2 55:32", EC=CLASSES)
_VBAR = fields("BASE 63:11", BASE=address(11))

EXCEPTIONS: dict[str, Fields] = {
    "SPSR_EL1": _SPSR,
    "SPSR_EL2": _SPSR,
    "ESR_EL1": _ESR,
    "ESR_EL2": _ESR,
    "VBAR_EL1": _VBAR,
    "VBAR_EL2": _VBAR,
    "HPFAR_EL2": fields("FIPA 47:4\nNS 63", FIPA=address(12)),
    "DAIF": fields("F 6 FIQ masked\nI 7 IRQ masked\nA 8 SError masked\nD 9 debug masked"),
    "CURRENTEL": fields("EL 3:2"),
    "SPSEL": fields("SP 0 SP_ELx"),
    "PAN": fields("PAN 22"),
    "UAO": fields("UAO 23"),
    "FPCR": fields(
        """
        FIZ 0
        AH 1
        NEP 2
        IOE 8
        DZE 9
        OFE 10
        UFE 11
        IXE 12
        EBF 13
        IDE 15
        Len 18:16
        FZ16 19
        Stride 21:20
        RMode 23:22
        FZ 24
        DN 25
        AHP 26
        """,
        RMode={0: "to nearest", 1: "towards +inf", 2: "towards -inf", 3: "towards zero"},
    ),
    "FPSR": fields("IOC 0\nDZC 1\nOFC 2\nUFC 3\nIXC 4\nIDC 7\nQC 27\nV 28\nC 29\nZ 30\nN 31"),
}
