"""Stage 1 translation by the tables in memory: for attributes, and for faults that the engine lacks.

The engine translates; it ignores the output address size, and reads 0 where no memory is.

:source: Arm DDI 0487, D8.2 (translation process), D8.14 (faults, their order and levels)

MODEL: no FEAT_LPA2: descriptors have 48-bit addresses. Access flags and permissions: the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE, own_register

Read = Callable[[int], int | None]  # returns the u64 at a PA, None where no memory is

ADDRESS = 0x0000_FFFF_FFFF_F000
GRANULE_0 = {0: 12, 1: 16, 2: 14}  # TCR_ELx.TG0 to log2 of the bytes
_GRANULE_1 = {1: 14, 2: 12, 3: 16}  # TG1 has other values for the same
BLOCK_LEVELS = {12: (1, 2), 14: (2,), 16: (2,)}  # at which a descriptor may be a block
_PA_BITS = (32, 36, 40, 42, 44, 48)  # by IPS; higher: 48
_PA_BITS_MIN = _PA_BITS[0]
_SCTLR_M = 1
_GP = 1 << 50
_E2H_TGE = sysreg.HCR_E2H | sysreg.HCR_TGE


class FaultClass(IntEnum):
    """Which fault: the fault status code (DFSC, IFSC) is this plus the level."""

    ADDRESS_SIZE = 0b000000
    TRANSLATION = 0b000100
    ACCESS_FLAG = 0b001000
    PERMISSION = 0b001100
    EXTERNAL_ABORT_ON_WALK = 0b010100


class Fault(NamedTuple):
    """Why an address does not translate."""

    kind: FaultClass
    level: int

    @property
    def status(self) -> int:
        """The fault status code."""
        return self.kind + self.level


class Translation(NamedTuple):
    """Where an address translates to.

    :ivar attribute: AttrIndx of the descriptor; None: the MMU is off
    :ivar guarded: GP of the descriptor (FEAT_BTI)
    :ivar level: that of the descriptor; -1: the MMU is off
    :ivar descriptor: u64; 0: the MMU is off
    :ivar tables: u64, all bits that descriptors of tables on the way have set
    """

    pa: int
    attribute: int | None
    guarded: bool = False
    level: int = -1
    descriptor: int = 0
    tables: int = 0


def walk(pe: PE, va: int, read: Read) -> Translation | Fault:
    """Translate ``va`` in the current regime of ``pe``."""
    return walk_with(pe, va, read, uses_el2(pe), control(pe))


def control(pe: PE) -> int:
    """Return SCTLR_ELx of the current regime, as it is in force."""
    el = pe.el
    if el:
        return pe.sysreg(sysreg.SCTLR_EL1 if el == 1 else sysreg.SCTLR_EL2)
    hcr = pe.sysreg(sysreg.HCR_EL2)
    if hcr & _E2H_TGE == _E2H_TGE:
        return pe.sysreg(sysreg.SCTLR_EL2)
    value = pe.sysreg(sysreg.SCTLR_EL1)
    return value & ~_SCTLR_M if hcr & sysreg.HCR_TGE else value


def uses_el2(pe: PE) -> bool:
    """Tell whether the current regime is that of EL2, which EL0 shares with HCR_EL2.E2H and TGE set."""
    el = pe.el
    if el:
        return el == 2
    return pe.sysreg(sysreg.HCR_EL2) & _E2H_TGE == _E2H_TGE


def walk_with(pe: PE, va: int, read: Read, is_el2: bool, sctlr: int) -> Translation | Fault:
    """Like :func:`walk`, for who has the level and its SCTLR_ELx at hand."""
    tcr = pe.sysreg(sysreg.TCR_EL2 if is_el2 else sysreg.TCR_EL1)
    two_ranges = has_two_ranges(pe, is_el2)
    high = va >> 55 & 1 if two_ranges else 0
    ignores_tag = tcr >> (20 if not two_ranges else 38 if high else 37) & 1
    top = 56 if ignores_tag else 64
    if not sctlr & _SCTLR_M:
        pa = va & (1 << top) - 1
        if pa >> _PA_BITS_MIN and pa >> pa_bits(pe):
            return Fault(FaultClass.ADDRESS_SIZE, 0)
        return Translation(pa, None)
    ttbr, granule, width = range_of(tcr, is_el2, two_ranges, high)
    above = (va & (1 << top) - 1) >> width
    if granule is None or above != ((1 << top - width) - 1 if high else 0):
        return Fault(FaultClass.TRANSLATION, 0)
    ips = tcr >> (32 if two_ranges else 16) & 7
    per_level = granule - 3
    levels = -(-(width - granule) // per_level)
    table, level, shift, descriptor, tables = pe.sysreg(ttbr) & ADDRESS, 0, 0, 0, 0
    for left in range(levels - 1, -1, -1):
        if table >> _PA_BITS_MIN and table >> pa_bits(pe, ips):
            return Fault(FaultClass.ADDRESS_SIZE, level)
        level, shift = 3 - left, granule + per_level * left
        read_here = read(table + 8 * (va >> shift & (1 << min(per_level, width - shift)) - 1))
        if read_here is None:
            return Fault(FaultClass.EXTERNAL_ABORT_ON_WALK, level)
        descriptor = read_here
        if not descriptor & 1 or (not descriptor & 2 and level not in BLOCK_LEVELS[granule]):
            return Fault(FaultClass.TRANSLATION, level)
        if not left or not descriptor & 2:  # a page, or a block
            break
        tables |= descriptor
        table = descriptor & ADDRESS & -(1 << granule)
    pa = descriptor & ADDRESS & -(1 << shift)
    if pa >> _PA_BITS_MIN and pa >> pa_bits(pe, ips):
        return Fault(FaultClass.ADDRESS_SIZE, level)
    pa |= va & (1 << shift) - 1
    return Translation(pa, descriptor >> 2 & 7, bool(descriptor & _GP), level, descriptor, tables)


def range_of(tcr: int, is_el2: bool, two_ranges: bool, high: int) -> tuple[Encoding, int | None, int]:
    """Return how a range of VAs is translated: by which TTBR, log2 of the granule, and the bits of a VA.

    No granule: its value is reserved, or the TCR disables walks.

    :param tcr: TCR_ELx of the regime
    :param two_ranges: the regime has an upper range too
    :param high: 1: it is that one
    """
    granule: int | None
    if high:
        ttbr = sysreg.TTBR1_EL2 if is_el2 else sysreg.TTBR1_EL1
        granule, size, disabled = _GRANULE_1.get(tcr >> 30 & 3), tcr >> 16 & 0x3F, tcr >> 23 & 1
    else:
        ttbr = sysreg.TTBR0_EL2 if is_el2 else sysreg.TTBR0_EL1
        granule, size, disabled = GRANULE_0.get(tcr >> 14 & 3), tcr & 0x3F, two_ranges and tcr >> 7 & 1
    return ttbr, None if disabled else granule, 64 - min(max(size, 16), 39)


def has_two_ranges(pe: PE, is_el2: bool) -> bool:
    """Tell whether the regime has an upper range of VAs too: that of EL2 with HCR_EL2.E2H alone."""
    return not is_el2 or bool(pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H)


def bits_of_address(pe: PE, va: int) -> tuple[int, int]:
    """Return the first bit of ``va`` that is not translated, and the first one above those that count."""
    is_el2 = uses_el2(pe)
    tcr = pe.sysreg(sysreg.TCR_EL2 if is_el2 else sysreg.TCR_EL1)
    if is_el2 and not pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H:
        size, ignores_tag = tcr, tcr >> 20 & 1
    else:
        high = va >> 55 & 1
        size, ignores_tag = tcr >> 16 * high, tcr >> 37 + high & 1
    return 64 - min(max(size & 0x3F, 16), 39), 56 if ignores_tag else 64


def _bits(size: int) -> int:
    # Of an address, by TCR_ELx.IPS, TCR_EL2.PS or ID_AA64MMFR0_EL1.PARange.
    return _PA_BITS[min(size, len(_PA_BITS) - 1)]


def pa_bits(pe: PE, size: int = 7) -> int:
    """Return the bits that a PA may have: of PARange, and of a register that says ``size``."""
    value = own_register(pe, sysreg.ID_AA64MMFR0_EL1)
    if value is None:
        value = pe.system_register(sysreg.ID_AA64MMFR0_EL1)
    return min(_bits(size), _bits(value & 15))
