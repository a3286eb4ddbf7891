"""Fields of VMSAv8-64 descriptors.

:source: Arm DDI 0487, D8.3 (translation table descriptor formats), D8.4 (permissions), D8.5 (attributes)
"""

from __future__ import annotations

from emu.arch.fields.field import Fields, fields

_SHAREABILITY = {0: "Non-shareable", 2: "Outer Shareable", 3: "Inner Shareable"}
_S2AP = {0: "no access", 1: "read-only", 2: "write-only", 3: "read-write"}
_AP_TABLE = {1: "none for EL0 below", 2: "read-only below", 3: "read-only below, none for EL0"}


def _leaf(level: str) -> Fields:
    # Of a block or page at stage 1 of a regime that EL0 has a part in.
    return fields(
        """
        AttrIndx 4:2
        NS 5 NS
        AP 7:6
        SH 9:8
        AF 10
        nG 11 nG
        GP 50 guarded
        DBM 51 DBM
        Contiguous 52 contiguous
        PXN 53 PXN
        UXN 54 UXN
        """,
        AP={
            0: f"{level} read-write",
            1: f"{level} and EL0 read-write",
            2: f"{level} read-only",
            3: f"{level} and EL0 read-only",
        },
        SH=_SHAREABILITY,
        AF={0: "AF clear"},
    )


LEAF_EL1, LEAF_EL2_VHE = _leaf("EL1"), _leaf("EL2")  # of EL1&0, of EL2&0
# Of EL2 without E2H, which has one range and no EL0.
LEAF_EL2: Fields = fields(
    """
    AttrIndx 4:2
    NS 5 NS
    AP 7:6
    SH 9:8
    AF 10
    GP 50 guarded
    DBM 51 DBM
    Contiguous 52 contiguous
    XN 54 XN
    """,
    AP={0: "read-write", 1: "read-write", 2: "read-only", 3: "read-only"},
    SH=_SHAREABILITY,
    AF={0: "AF clear"},
)
# Of a block or page at stage 2.
LEAF_STAGE2: Fields = fields(
    """
    MemAttr 5:2
    S2AP 7:6
    SH 9:8
    AF 10
    DBM 51 DBM
    Contiguous 52 contiguous
    XN 54:53
    """,
    MemAttr={
        0: "Device-nGnRnE",
        1: "Device-nGnRE",
        2: "Device-nGRE",
        3: "Device-GRE",
        5: "Normal Non-cacheable",
        10: "Normal Write-Through",
        15: "Normal Write-Back",
    },
    S2AP=_S2AP,
    SH=_SHAREABILITY,
    AF={0: "AF clear"},
    XN={1: "XN at EL1", 2: "XN", 3: "XN at EL0"},
)
# What a descriptor of a table says of all that is below, at stage 1.
TABLE: Fields = fields(
    """
    PXNTable 59 PXN below
    UXNTable 60 UXN below
    APTable 62:61
    NSTable 63 NS below
    """,
    APTable=_AP_TABLE,
)


def words(table: Fields, descriptor: int) -> list[str]:
    """Return in words what the fields of a descriptor (u64) say."""
    return [said for each in table if (said := each.words(each.of(descriptor)))]
