"""Whether an access is cacheable: from SCTLR, TCR, MAIR and the page tables in force, never from a list.

Source: Arm DDI 0487, D8.2 (stage 1 translation), D8.5 (memory attributes).

MODEL: stage 1 of EL1&0 with 48-bit descriptors, no stage 2; at EL2 with its MMU on, SCTLR_EL2.C alone
decides. Shareability is not looked at: all CPUs are in one domain.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import sysreg
from emu.arch.operand import access_va
from emu.cpu.pe import PE, operand
from emu.memory import Memory

_M, _C = 1 << 0, 1 << 2
_ADDRESS = 0x0000_FFFF_FFFF_F000
_GRANULE_0 = {0: 12, 1: 16, 2: 14}  # TCR_EL1.TG0 to log2 of the bytes
_GRANULE_1 = {1: 14, 2: 12, 3: 16}  # TG1 has other values for the same


def is_cacheable(pe: PE, va: int, read: Callable[[int], int]) -> bool:
    """Tell whether ``pe`` accesses ``va`` as Normal cacheable memory now.

    :param read: returns the u64 at a PA, for the page tables
    """
    sctlr = pe.sysreg(sysreg.SCTLR_EL2 if pe.el == 2 else sysreg.SCTLR_EL1)
    if sctlr & (_M | _C) != _M | _C:
        return False  # MMU off: Device-nGnRnE; C clear: Non-cacheable
    if pe.el == 2:
        return True
    index = _attribute_index(pe, va, read)
    if index is None:
        return False  # it faults
    attribute = pe.sysreg(sysreg.MAIR_EL1) >> 8 * index & 0xFF
    return attribute >> 4 not in (0, 4) and attribute & 15 != 4


def access_is_cacheable(pe: PE, word: int, pc: int, memory: Memory) -> bool:
    """Tell whether the load, store or DC ZVA ``word`` at ``pc`` (VA), next on ``pe``, is cacheable."""
    if word >> 24 == 0xD5:
        va = operand(pe.x, word & 31)
    else:
        va = access_va(word, pc, list(pe.x))
    return is_cacheable(pe, va, lambda pa: memory.read(pa, 8))


def _attribute_index(pe: PE, va: int, read: Callable[[int], int]) -> int | None:
    # AttrIndx of the block or page descriptor that maps `va`.
    tcr, high = pe.sysreg(sysreg.TCR_EL1), va >> 55 & 1
    granule = (_GRANULE_1 if high else _GRANULE_0).get(tcr >> (30 if high else 14) & 3)
    if granule is None:
        return None
    width = 64 - (tcr >> (16 if high else 0) & 0x3F)
    per_level = granule - 3
    levels = -(-(width - granule) // per_level)
    table = pe.sysreg(sysreg.TTBR1_EL1 if high else sysreg.TTBR0_EL1) & _ADDRESS
    for left in range(levels - 1, -1, -1):
        shift = granule + per_level * left
        bits = min(per_level, width - shift)
        descriptor = read(table + 8 * (va >> shift & (1 << bits) - 1))
        if not descriptor & 1:
            return None
        if not left or not descriptor & 2:  # a page, or a block
            return descriptor >> 2 & 7
        table = descriptor & _ADDRESS & -(1 << granule)
    return None
