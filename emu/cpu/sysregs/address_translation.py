"""AT S1E1R and AT S1E1W of a host (FEAT_VHE), which translate in the regime of EL2 and EL0.

The engine translates them in EL1's.

:source: Arm DDI 0487, C5.5 (AT S1E1R, AT S1E1W), PAR_EL1

MODEL: what the other AT instructions give of a host is the engine's, in the regime of EL1.
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.attributes import attribute, is_device
from emu.cpu.pe import PE, operand
from emu.cpu.sysregs import vhe
from emu.cpu.translation import ADDRESS, Fault, FaultClass, Read, walk

_PAR_EL1 = (3, 0, 7, 4, 0)
_FAILED, _RES1, _NS = 1, 1 << 11, 1 << 9
_AF, _OUTER, _NON_CACHEABLE = 1 << 10, 2, 0x44


def translate(read: Read, pe: PE, word: int) -> bool:
    """Do the instruction ``word`` of a host; False: ``pe`` is none, and the engine does it.

    PAR_EL1 gets what the VA (u64) in its register translates to.
    """
    if pe.el != 2 or not vhe.is_host(pe) or not pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_TGE:
        return False
    va = operand(pe.x, word & 31)
    pe.set_system_register(_PAR_EL1, _par_of(pe, va, read, is_store=bool(word >> 5 & 1)))
    return True


def _par_of(pe: PE, va: int, read: Read, *, is_store: bool) -> int:
    # The PA of a VA and its attributes, or why it does not translate.
    pa = pe.translate(va, is_store=is_store)
    found = walk(pe, va, read)
    if isinstance(found, Fault):
        return _RES1 | found.status << 1 | _FAILED
    if pa is None:
        kind = FaultClass.PERMISSION if found.descriptor & _AF else FaultClass.ACCESS_FLAG
        return _RES1 | kind + found.level << 1 | _FAILED
    memory = attribute(pe, va, read)
    is_shared = is_device(memory) or memory == _NON_CACHEABLE
    return (
        memory << 56 | pa & ADDRESS | _RES1 | _NS | (_OUTER if is_shared else found.descriptor >> 8 & 3) << 7
    )
