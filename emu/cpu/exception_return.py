"""Exception return: which are illegal, and what PSTATE becomes. Pure functions of values.

:source: Arm DDI 0487, D1.4.4 (illegal exception returns), pseudocode IllegalExceptionReturn, ELFromSPSR and
    SetPSTATEFromPSR

MODEL: EL2 and EL3 are there and Non-secure state alone: SCR_EL3.NS and RW are set.
"""

from __future__ import annotations

from emu.arch import sysreg

IL = 1 << 20  # of PSTATE and SPSR: Illegal Execution state
ILLEGAL_STATE = 0x0E << 26 | 1 << 25  # the syndrome of an instruction in that state

_AARCH32 = 1 << 4
_EL_AND_SP = 0xF
# SPSR.M[3:0] of AArch32 to EL: User, FIQ, IRQ, Supervisor, Abort, Hyp, Undefined, System; Monitor is at EL3.
_EL_OF_MODE = {0x0: 0, 0x1: 1, 0x2: 1, 0x3: 1, 0x6: 3, 0x7: 1, 0xA: 2, 0xB: 1, 0xF: 1}


def is_illegal(spsr: int, el: int, hcr: int, *, aarch32_max: int = 3) -> bool:
    """Tell whether a return from EL ``el`` (1..3) to what ``spsr`` says is illegal.

    :param hcr: HCR_EL2
    :param aarch32_max: the highest EL that can use AArch32; -1: none can
    """
    to_aarch32 = bool(spsr & _AARCH32)
    target = _target(spsr)
    if target is None or target > el or (to_aarch32 and aarch32_max < 0):
        return True
    if target == 1 and hcr & sysreg.HCR_TGE:
        return True
    below_is_aarch32 = aarch32_max >= 1 and not hcr & sysreg.HCR_RW and el == 2
    if hcr & sysreg.HCR_E2H and hcr & sysreg.HCR_TGE:
        below_is_aarch32 = False
    if target >= 2:
        return to_aarch32
    if target == 1:
        return to_aarch32 != below_is_aarch32
    return below_is_aarch32 and not to_aarch32


def _target(spsr: int) -> int | None:
    # The EL that SPSR.M names, None for a value that names none.
    mode = spsr & _EL_AND_SP
    if spsr & _AARCH32:
        return _EL_OF_MODE.get(mode)
    if mode & 2 or mode == 1:
        return None
    return mode >> 2


def is_to_aarch32(spsr: int) -> bool:
    """Tell whether a return that is not illegal goes to AArch32 state."""
    return bool(spsr & _AARCH32)


def pstate_after(spsr: int, pstate: int, *, illegal: bool) -> int:
    """Return PSTATE after the return, as SPSR has it.

    :param pstate: before the return: EL and SP stay when it is illegal
    """
    if illegal:
        return spsr & ~(_EL_AND_SP | _AARCH32) | IL | pstate & _EL_AND_SP
    return spsr
