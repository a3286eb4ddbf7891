"""Fields of the registers of a GICv3's CPU interface.

:source: Arm IHI 0069, 12.2
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, Meaning, fields

_SPURIOUS: Meaning = {1020: "special", 1021: "special", 1022: "special", 1023: "none"}
_INTID = fields("INTID 23:0", INTID=_SPURIOUS)
_POINT = fields("BinaryPoint 2:0")
_ENABLE = fields("Enable 0")

INTERRUPTS: dict[str, Fields] = {
    "ICC_PMR_EL1": fields("Priority 7:0", Priority={0: "masks all", 0xFF: "masks none"}),
    "ICC_RPR_EL1": fields("Priority 7:0", Priority={0xFF: "idle"}),
    **dict.fromkeys(("ICC_IAR0_EL1", "ICC_IAR1_EL1", "ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1"), _INTID),
    **dict.fromkeys(("ICC_BPR0_EL1", "ICC_BPR1_EL1"), _POINT),
    **dict.fromkeys(("ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL1"), _ENABLE),
    "ICC_CTLR_EL1": fields(
        """
        CBPR 0 one binary point
        EOImode 1 an end of interrupt drops the priority alone
        PMHE 6
        PRIbits 10:8
        IDbits 13:11
        SEIS 14
        A3V 15
        RSS 18
        ExtRange 19
        """,
        PRIbits=lambda value: f"{value + 1} bits",
        IDbits={0: "16 bits", 1: "24 bits"},
    ),
}
