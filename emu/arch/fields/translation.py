"""Fields of the registers that address translation reads.

:source: Arm DDI 0487, D24.2: TCR_ELx, VTCR_EL2, TTBRn_ELx, VTTBR_EL2, MAIR_ELx, PAR_EL1; D8.2.8 for sizes
"""

from __future__ import annotations

from emu.arch.fields.field import Field, Fields, Meaning, address, fields

_GRANULE_0 = {0: "4 KiB", 1: "64 KiB", 2: "16 KiB"}
_GRANULE_1 = {1: "16 KiB", 2: "4 KiB", 3: "64 KiB"}
_SIZE = {0: "32 bits", 1: "36 bits", 2: "40 bits", 3: "42 bits", 4: "44 bits", 5: "48 bits", 6: "52 bits"}
_SHAREABILITY = {0: "Non-shareable", 2: "Outer Shareable", 3: "Inner Shareable"}
_CACHEABILITY = {0: "Non-cacheable", 1: "Write-Back, RA WA", 2: "Write-Through, RA", 3: "Write-Back, RA"}
_DEVICE = {0: "Device-nGnRnE", 4: "Device-nGnRE", 8: "Device-nGRE", 12: "Device-GRE"}


def _bits(size: int) -> str:
    return f"{64 - size} bits"


def _half(value: int) -> str:
    # Four bits of a Normal memory attribute, inner or outer.
    if value == 4:
        return "Non-cacheable"
    name = "Write-Back" if value & 4 else "Write-Through"
    hints = " ".join(hint for hint, bit in (("RA", 2), ("WA", 1)) if value & bit)
    return " ".join(filter(None, (name, "" if value & 8 else "transient", hints)))


def attribute_words(value: int) -> str:
    """Return in words what a memory attribute (8 bits of MAIR_ELx) is."""
    if not value & 0xF0:
        return _DEVICE.get(value, "reserved")
    if not value & 0xF:
        return "Tagged Normal Write-Back" if value == 0xF0 else "reserved"
    outer, inner = _half(value >> 4), _half(value & 15)
    return f"Normal {outer}" if outer == inner else f"Normal inner {inner}, outer {outer}"


_RANGE_0: dict[str, Meaning] = {
    "T0SZ": _bits,
    "IRGN0": _CACHEABILITY,
    "ORGN0": _CACHEABILITY,
    "SH0": _SHAREABILITY,
}
_TCR_EL1 = """
    T0SZ 5:0
    EPD0 7 no walks by TTBR0
    IRGN0 9:8
    ORGN0 11:10
    SH0 13:12
    TG0 15:14
    T1SZ 21:16
    A1 22 the ASID is TTBR1's
    EPD1 23 no walks by TTBR1
    IRGN1 25:24
    ORGN1 27:26
    SH1 29:28
    TG1 31:30
    IPS 34:32
    AS 36 ASIDs of 16 bits
    TBI0 37
    TBI1 38
    HA 39
    HD 40
    HPD0 41
    HPD1 42
    HWU059 43
    HWU060 44
    HWU061 45
    HWU062 46
    HWU159 47
    HWU160 48
    HWU161 49
    HWU162 50
    TBID0 51
    TBID1 52
    NFD0 53
    NFD1 54
    E0PD0 55
    E0PD1 56
    TCMA0 57
    TCMA1 58
    DS 59
    MTX0 60
    MTX1 61
"""
_TWO_RANGES = fields(
    _TCR_EL1,
    TG0=_GRANULE_0,
    T1SZ=_bits,
    IRGN1=_CACHEABILITY,
    ORGN1=_CACHEABILITY,
    SH1=_SHAREABILITY,
    TG1=_GRANULE_1,
    IPS=_SIZE,
    **_RANGE_0,
)
_TTBR = fields("CnP 0\nBADDR 47:1\nASID 63:48", BADDR=address(1))
_ATTRIBUTES = {value: words for value in range(256) if (words := attribute_words(value)) != "reserved"}
_MAIR = tuple(
    Field(f"Attr{number}", 8 * number + 7, 8 * number, attribute_words, _ATTRIBUTES) for number in range(8)
)

TRANSLATION: dict[str, Fields] = {
    "TCR_EL1": _TWO_RANGES,
    "TCR_EL2": fields(
        """
        T0SZ 5:0
        IRGN0 9:8
        ORGN0 11:10
        SH0 13:12
        TG0 15:14
        PS 18:16
        TBI 20
        HA 21
        HD 22
        RES1_23 23
        HPD 24
        HWU59 25
        HWU60 26
        HWU61 27
        HWU62 28
        TBID 29
        TCMA 30
        RES1_31 31
        DS 32
        MTX 33
        """,
        TG0=_GRANULE_0,
        PS=_SIZE,
        **_RANGE_0,
    ),
    "VTCR_EL2": fields(
        """
        T0SZ 5:0
        SL0 7:6
        IRGN0 9:8
        ORGN0 11:10
        SH0 13:12
        TG0 15:14
        PS 18:16
        VS 19 VMIDs of 16 bits
        HA 21
        HD 22
        HWU59 25
        HWU60 26
        HWU61 27
        HWU62 28
        NSW 29
        NSA 30
        RES1_31 31
        DS 32
        SL2 33
        """,
        TG0=_GRANULE_0,
        PS=_SIZE,
        **_RANGE_0,
    ),
    "TTBR0_EL1": _TTBR,
    "TTBR1_EL1": _TTBR,
    "TTBR0_EL2": _TTBR,
    "TTBR1_EL2": _TTBR,
    "VTTBR_EL2": fields("CnP 0\nBADDR 47:1\nVMID 63:48", BADDR=address(1)),
    "MAIR_EL1": _MAIR,
    "MAIR_EL2": _MAIR,
    "CONTEXTIDR_EL1": fields("PROCID 31:0"),
    "CONTEXTIDR_EL2": fields("PROCID 31:0"),
    # Of a translation that succeeded (F is 0).
    "PAR_EL1": fields(
        """
        F 0 it failed
        SH 8:7
        NS 9
        NSE 11
        PA 51:12
        ATTR 63:56
        """,
        SH=_SHAREABILITY,
        PA=address(12),
        ATTR=attribute_words,
    ),
}
# The layout that HCR_EL2.E2H gives.
WITH_E2H: dict[str, Fields] = {"TCR_EL2": _TWO_RANGES}
