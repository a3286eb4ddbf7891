"""AT instructions of a host (FEAT_VHE), which translate in the regime of EL2 and EL0.

The engine translates them in EL1's, or by what PSTATE.PAN has EL2 do.

:source: Arm DDI 0487, C5.5 (AT S1E0R to AT S12E1W), D8.4 (permissions), PAR_EL1
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.attributes import attribute, is_device
from emu.cpu.exceptions import PAN
from emu.cpu.pe import PE, operand
from emu.cpu.sysregs import vhe
from emu.cpu.translation import ADDRESS, Fault, FaultClass, Read, Translation, walk

_PAR_EL1 = (3, 0, 7, 4, 0)
_FAILED, _RES1, _NS = 1, 1 << 11, 1 << 9
_AF, _OUTER, _NON_CACHEABLE = 1 << 10, 2, 0x44
_AP_EL0, _AP_READ_ONLY = 1 << 6, 1 << 7  # AP[1], AP[2]
_NOT_EL0, _READ_ONLY = 1 << 61, 1 << 62  # APTable of the tables on the way
_HPD = 41  # TCR_EL2.HPD0, then HPD1: APTable does not count
_OF_EL2 = 4  # op1
# By op1, CRm and op2 without the bit that tells writes: who it is that accesses.
_PRIVILEGED, _EL0, _WITH_PAN = range(3)
_ACCESSES = {
    (0, 8, 0): _PRIVILEGED,  # S1E1
    (0, 8, 2): _EL0,  # S1E0
    (0, 9, 0): _WITH_PAN,  # S1E1RP, S1E1WP
    (_OF_EL2, 8, 0): _PRIVILEGED,  # S1E2
    (_OF_EL2, 8, 4): _PRIVILEGED,  # S12E1; a host has no stage 2
    (_OF_EL2, 8, 6): _EL0,  # S12E0
}


def translate(read: Read, pe: PE, word: int) -> bool:
    """Do the AT ``word`` of a host; False: it is none of one, and the engine does it.

    PAR_EL1 gets what the VA (u64) in its register translates to.
    """
    op1, crm, op2 = word >> 16 & 7, word >> 8 & 15, word >> 5 & 7
    access = _ACCESSES.get((op1, crm, op2 & ~1))
    if access is None or pe.el != 2 or not vhe.is_host(pe):
        return False
    of_el2 = (op1, op2 & ~1) == (_OF_EL2, 0)
    if not (of_el2 or pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_TGE):
        return False
    if access == _WITH_PAN and not pe.core.has("FEAT_PAN2"):
        return False  # UNDEFINED
    pe.set_system_register(_PAR_EL1, _par_of(pe, operand(pe.x, word & 31), read, access, bool(op2 & 1)))
    return True


def _par_of(pe: PE, va: int, read: Read, access: int, is_store: bool) -> int:
    # The PA of a VA and its attributes, or why it does not translate.
    found = walk(pe, va, read)
    if isinstance(found, Fault):
        return _RES1 | found.status << 1 | _FAILED
    kind = _refused(pe, va, found, access, is_store) if found.level >= 0 else None
    if kind is not None:
        return _RES1 | kind + found.level << 1 | _FAILED
    memory = attribute(pe, va, read)
    is_shared = is_device(memory) or memory == _NON_CACHEABLE
    share = _OUTER if is_shared else found.descriptor >> 8 & 3
    return memory << 56 | found.pa & ADDRESS | _RES1 | _NS | share << 7


def _refused(pe: PE, va: int, found: Translation, access: int, is_store: bool) -> FaultClass | None:
    descriptor = found.descriptor
    if not descriptor & _AF:
        return FaultClass.ACCESS_FLAG
    hierarchical = not pe.sysreg(sysreg.TCR_EL2) >> _HPD + (va >> 55 & 1) & 1
    tables = found.tables if hierarchical else 0
    of_el0 = bool(descriptor & _AP_EL0) and not tables & _NOT_EL0
    read_only = descriptor & _AP_READ_ONLY or tables & _READ_ONLY
    if (
        (is_store and read_only)
        or (access == _EL0 and not of_el0)
        or (access == _WITH_PAN and of_el0 and pe.pstate & PAN)
    ):
        return FaultClass.PERMISSION
    return None
