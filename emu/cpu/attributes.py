"""Memory attributes of an access: from SCTLR, TCR, MAIR and the page tables in force, never from a list.

:source: Arm DDI 0487, D8.5 (memory attributes), MAIR_EL1

MODEL: no stage 2. Shareability is not looked at: all CPUs are in one domain.
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.faulting_address import access_address
from emu.cpu.pe import PE
from emu.cpu.translation import Fault, Read, Translation, control, uses_el2, walk_with
from emu.memory import Memory

_DEVICE_NGNRNE = 0x00
_NON_CACHEABLE = 0x44
_WRITE_BACK = 0xFF
_M, _C = 1 << 0, 1 << 2


def attribute(pe: PE, va: int, read: Read) -> int:
    """Return the attributes of ``va`` for data accesses of ``pe`` now, as MAIR_ELx encodes them.

    :return: Device-nGnRnE where the MMU is off, and where the address does not translate
    """
    is_el2 = uses_el2(pe)
    sctlr = control(pe)
    if not sctlr & _M:
        return _DEVICE_NGNRNE
    found = walk_with(pe, va, read, is_el2, sctlr)
    if found.__class__ is Fault:
        return _DEVICE_NGNRNE
    assert isinstance(found, Translation)
    assert found.attribute is not None, "the MMU is on"
    mair = pe.sysreg(sysreg.MAIR_EL2 if is_el2 else sysreg.MAIR_EL1)
    value = mair >> 8 * found.attribute & 0xFF
    return _NON_CACHEABLE if not sctlr & _C and value >> 4 else value


def is_device(value: int) -> bool:
    """Tell whether attributes are those of Device memory."""
    return value >> 4 == 0


def is_cacheable(pe: PE, va: int, read: Read) -> bool:
    """Tell whether ``pe`` accesses ``va`` as Normal cacheable memory now."""
    value = attribute(pe, va, read)
    if value == _WRITE_BACK:
        return True
    return value >> 4 not in (0, 4) and value & 15 != 4


def has_global_monitor(pe: PE, va: int, read: Read) -> bool:
    """Tell whether exclusive and atomic accesses of ``pe`` to ``va`` are sure to work now: Write-Back memory.

    :source: Arm DDI 0487, B2.12.5
    """
    value = attribute(pe, va, read)
    return _is_write_back(value >> 4) and _is_write_back(value & 15)


def _is_write_back(half: int) -> bool:
    # One half of MAIR's field: Write-Back non-transient, or transient with an allocation hint.
    return half >> 2 == 0b11 or (half >> 2 == 0b01 and half & 3 != 0)


def access_is_cacheable(pe: PE, word: int, pc: int, memory: Memory) -> bool:
    """Tell whether the load, store or DC ZVA ``word`` at ``pc`` (VA), next on ``pe``, is cacheable."""
    return is_cacheable(pe, access_address(pe, word, pc), memory.u64)
