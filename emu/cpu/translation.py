"""Stage 1 translation by the tables in memory: for attributes, and for faults that the engine lacks.

The engine translates; it ignores the output address size, and reads 0 where no memory is.

:source: Arm DDI 0487, D8.2 (translation process), D8.14 (faults, their order and levels)

MODEL: no stage 2, no FEAT_LPA2: descriptors have 48-bit addresses. Access flags and permissions: the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from emu.arch import sysreg
from emu.cpu.pe import PE

Read = Callable[[int], int | None]  # returns the u64 at a PA, None where no memory is

_ADDRESS = 0x0000_FFFF_FFFF_F000
_GRANULE_0 = {0: 12, 1: 16, 2: 14}  # TCR_ELx.TG0 to log2 of the bytes
_GRANULE_1 = {1: 14, 2: 12, 3: 16}  # TG1 has other values for the same
_PA_BITS = (32, 36, 40, 42, 44, 48)  # by IPS; higher: 48
_PA_BITS_MIN = _PA_BITS[0]
_SCTLR_M = 1


class FaultClass(IntEnum):
    """Which fault: the fault status code (DFSC, IFSC) is this plus the level."""

    ADDRESS_SIZE = 0b000000
    TRANSLATION = 0b000100
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
    """

    pa: int
    attribute: int | None


def walk(pe: PE, va: int, read: Read) -> Translation | Fault:
    """Translate ``va`` in the current regime of ``pe``."""
    is_el2 = pe.el == 2
    return walk_with(pe, va, read, is_el2, pe.sysreg(sysreg.SCTLR_EL2 if is_el2 else sysreg.SCTLR_EL1))


def walk_with(pe: PE, va: int, read: Read, is_el2: bool, sctlr: int) -> Translation | Fault:
    """Like :func:`walk`, for who has the level and its SCTLR_ELx at hand."""
    tcr = pe.sysreg(sysreg.TCR_EL2 if is_el2 else sysreg.TCR_EL1)
    two_ranges = not is_el2 or bool(pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H)
    high = va >> 55 & 1 if two_ranges else 0
    ignores_tag = tcr >> (20 if not two_ranges else 38 if high else 37) & 1
    top = 56 if ignores_tag else 64
    if not sctlr & _SCTLR_M:
        pa = va & (1 << top) - 1
        if pa >> _PA_BITS_MIN and pa >> _pa_bits(pe):
            return Fault(FaultClass.ADDRESS_SIZE, 0)
        return Translation(pa, None)
    if high:
        ttbr = sysreg.TTBR1_EL2 if is_el2 else sysreg.TTBR1_EL1
        granule, size, disabled = _GRANULE_1.get(tcr >> 30 & 3), tcr >> 16 & 0x3F, tcr >> 23 & 1
    else:
        ttbr = sysreg.TTBR0_EL2 if is_el2 else sysreg.TTBR0_EL1
        granule, size, disabled = _GRANULE_0.get(tcr >> 14 & 3), tcr & 0x3F, two_ranges and tcr >> 7 & 1
    width = 64 - min(max(size, 16), 39)
    above = (va & (1 << top) - 1) >> width
    if granule is None or disabled or above != ((1 << top - width) - 1 if high else 0):
        return Fault(FaultClass.TRANSLATION, 0)
    ips = tcr >> (32 if two_ranges else 16) & 7
    per_level = granule - 3
    levels = -(-(width - granule) // per_level)
    table, level, shift, descriptor = pe.sysreg(ttbr) & _ADDRESS, 0, 0, 0
    for left in range(levels - 1, -1, -1):
        if table >> _PA_BITS_MIN and table >> min(_bits(ips), _pa_bits(pe)):
            return Fault(FaultClass.ADDRESS_SIZE, level)
        level, shift = 3 - left, granule + per_level * left
        read_here = read(table + 8 * (va >> shift & (1 << min(per_level, width - shift)) - 1))
        if read_here is None:
            return Fault(FaultClass.EXTERNAL_ABORT_ON_WALK, level)
        descriptor = read_here
        if not descriptor & 1 or (not left and not descriptor & 2):
            return Fault(FaultClass.TRANSLATION, level)
        if not left or not descriptor & 2:  # a page, or a block
            break
        table = descriptor & _ADDRESS & -(1 << granule)
    pa = descriptor & _ADDRESS & -(1 << shift)
    if pa >> _PA_BITS_MIN and pa >> min(_bits(ips), _pa_bits(pe)):
        return Fault(FaultClass.ADDRESS_SIZE, level)
    return Translation(pa | va & (1 << shift) - 1, descriptor >> 2 & 7)


def _bits(size: int) -> int:
    # Of an address, by TCR_ELx.IPS, TCR_EL2.PS or ID_AA64MMFR0_EL1.PARange.
    return _PA_BITS[min(size, len(_PA_BITS) - 1)]


def _pa_bits(pe: PE) -> int:
    value = pe.overrides.get(sysreg.ID_AA64MMFR0_EL1)
    if value is None:
        value = pe.core.id_register(sysreg.ID_AA64MMFR0_EL1)
    if value is None:
        value = pe.system_register(sysreg.ID_AA64MMFR0_EL1)
    return _bits(value & 15)
