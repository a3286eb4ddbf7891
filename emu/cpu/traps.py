"""Traps of instructions that are no system register accesses: from the registers that configure them."""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.pe import PE
from emu.cpu.translation import control, uses_el2

_CPTR_TFP = 1 << 10
_HCR_TWI, _HCR_TWE = 1 << 13, 1 << 14
_SCTLR_NTWI, _SCTLR_NTWE = 1 << 16, 1 << 18


def default_target_el(pe: PE) -> int:
    """Return the EL that an exception is taken to which nothing routes elsewhere.

    :source: Arm DDI 0487, HCR_EL2.TGE
    """
    el = pe.el
    if el:
        return el
    return 2 if pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_TGE else 1


def wfe_trap_el(pe: PE) -> int:
    """Return the EL that a WFE without an event traps to, 0: it does not.

    :source: Arm DDI 0487, HCR_EL2.TWE; SCTLR_EL1.nTWE, of EL0
    """
    return _wait_trap_el(pe, _HCR_TWE, _SCTLR_NTWE)


def wfi_trap_el(pe: PE) -> int:
    """Return the EL that a WFI traps to, 0: it does not."""
    return _wait_trap_el(pe, _HCR_TWI, _SCTLR_NTWI)


def _wait_trap_el(pe: PE, hcr_bit: int, sctlr_bit: int) -> int:
    el = pe.el
    hcr = pe.sysreg(sysreg.HCR_EL2) if el < 2 else 0
    if el == 0 and (uses_el2(pe) or not hcr & sysreg.HCR_TGE) and not control(pe) & sctlr_bit:
        return default_target_el(pe)
    return 2 if hcr & hcr_bit else 0


def fp_trap_el(pe: PE) -> int:
    """Return the EL that an access to SIMD and floating-point state traps to, 0: it does not.

    :source: Arm DDI 0487, CPACR_EL1.FPEN (0b11 does not trap, 0b01 traps EL0 alone), CPTR_EL2.TFP
    """
    el, hcr, cptr = pe.el, pe.sysreg(sysreg.HCR_EL2), pe.sysreg(sysreg.CPTR_EL2)
    is_host = bool(hcr & sysreg.HCR_E2H)  # CPTR_EL2 has the layout of CPACR_EL1
    if is_host and (el == 2 or (el == 0 and hcr & sysreg.HCR_TGE)):
        return 2 if _fpen_traps(cptr, el) else 0
    if el < 2 and _fpen_traps(pe.sysreg(sysreg.CPACR_EL1), el):
        return 1
    if is_host:
        return 2 if _fpen_traps(cptr, 2) else 0
    return 2 if cptr & _CPTR_TFP else 0


def _fpen_traps(register: int, el: int) -> bool:
    # Whether the field FPEN of CPACR_EL1, or of CPTR_EL2, traps this EL.
    fpen = register >> 20 & 3
    return not fpen & 1 or (el == 0 and fpen == 1)
