"""FEAT_VHE: which register an EL1 name is at EL2 with HCR_EL2.E2H set, and the names in _EL12 and _EL02.

:source: Arm DDI 0487, D8.12 (virtualization host extensions), table of redirected encodings
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE

FEATURE = "FEAT_VHE"

_SAME_PLACE = (  # CRn, CRm, op2 of registers whose EL2 twin differs in op1 alone
    (1, 0, 0),  # SCTLR
    (2, 0, 0),  # TTBR0
    (2, 0, 1),  # TTBR1
    (2, 0, 2),  # TCR
    (4, 0, 0),  # SPSR
    (4, 0, 1),  # ELR
    (5, 1, 0),  # AFSR0
    (5, 1, 1),  # AFSR1
    (5, 2, 0),  # ESR
    (6, 0, 0),  # FAR
    (10, 2, 0),  # MAIR
    (10, 3, 0),  # AMAIR
    (12, 0, 0),  # VBAR
    (13, 0, 1),  # CONTEXTIDR
)
_TIMERS = tuple((14, crm, op2) for crm in (2, 3) for op2 in range(3))  # physical and virtual: TVAL, CTL, CVAL

_AT_EL2: dict[Encoding, Encoding] = {
    **{(3, 0, *place): (3, 4, *place) for place in _SAME_PLACE},
    sysreg.CPACR_EL1: sysreg.CPTR_EL2,
    sysreg.CNTKCTL_EL1: sysreg.CNTHCTL_EL2,
    **{(3, 3, *place): (3, 4, *place) for place in _TIMERS},
}
_BY_ITS_NAME: dict[Encoding, Encoding] = {
    **{(3, 5, *place): (3, 0, *place) for place in (*_SAME_PLACE, (1, 0, 2), (14, 1, 0))},
    **{(3, 5, *place): (3, 3, *place) for place in _TIMERS},
}
_REDIRECTED = {**_AT_EL2, **_BY_ITS_NAME}
_AT_EL0 = frozenset((3, 3, *place) for place in _TIMERS)  # of those: EL0 has the timers of its host
ENCODINGS = frozenset(_REDIRECTED)
EL12 = frozenset(encoding for encoding in _BY_ITS_NAME if encoding[2:] not in _TIMERS)


def is_host(pe: PE) -> bool:
    """Tell whether EL2 hosts EL0 (HCR_EL2.E2H and TGE), or is what runs, with E2H set."""
    el, hcr = pe.el, pe.sysreg(sysreg.HCR_EL2)
    if el == 1 or not hcr & sysreg.HCR_E2H or not pe.core.has(FEATURE):
        return False
    return el == 2 or bool(hcr & sysreg.HCR_TGE)


def redirected(pe: PE, encoding: Encoding) -> Encoding | None:
    """Return the register that ``pe`` accesses by ``encoding`` now; None: what the encoding says."""
    other = _REDIRECTED.get(encoding)
    if other is None or not is_host(pe) or (pe.el == 0 and encoding not in _AT_EL0):
        return None
    return other
