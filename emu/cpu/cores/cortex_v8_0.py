"""What Cortex-A53, A57 and A72 have in common beyond the architecture: registers that are not modelled.

:source: Cortex-A72 TRM (100095), 4.3; Arm DDI 0487, D17 (debug registers), D13 (PMU)
"""

from __future__ import annotations

from emu.arch.sysreg import Encoding

# Debug communication and claim registers of the architecture, which the engine does not have.
DEBUG: dict[Encoding, str] = {
    (2, 0, 0, 0, 2): "OSDTRRX_EL1",
    (2, 0, 0, 3, 2): "OSDTRTX_EL1",
    (2, 0, 0, 6, 2): "OSECCR_EL1",
    (2, 0, 1, 4, 4): "DBGPRCR_EL1",
    (2, 0, 7, 8, 6): "DBGCLAIMSET_EL1",
    (2, 0, 7, 9, 6): "DBGCLAIMCLR_EL1",
    (2, 0, 7, 14, 6): "DBGAUTHSTATUS_EL1",
    (2, 3, 0, 4, 0): "DBGDTR_EL0",
    (2, 3, 0, 5, 0): "DBGDTRRX_EL0",
}
# The engine has four event counters, these cores have six.
COUNTERS: dict[Encoding, str] = {
    (3, 3, 14, 8, 4): "PMEVCNTR4_EL0",
    (3, 3, 14, 8, 5): "PMEVCNTR5_EL0",
    (3, 3, 14, 12, 4): "PMEVTYPER4_EL0",
    (3, 3, 14, 12, 5): "PMEVTYPER5_EL0",
}
IMPLEMENTATION_DEFINED: dict[Encoding, str] = {
    (3, 1, 11, 0, 2): "L2CTLR_EL1",
    (3, 1, 11, 0, 3): "L2ECTLR_EL1",
    (3, 1, 15, 0, 0): "L2ACTLR_EL1",
    (3, 1, 15, 2, 0): "CPUACTLR_EL1",
    (3, 1, 15, 2, 1): "CPUECTLR_EL1",
    (3, 1, 15, 2, 2): "CPUMERRSR_EL1",
    (3, 1, 15, 2, 3): "L2MERRSR_EL1",
}
UNMODELLED = {**DEBUG, **COUNTERS, **IMPLEMENTATION_DEFINED}
# RAM index results, of Cortex-A57 and A72.
RAM_DATA: dict[Encoding, str] = {
    **{(3, 0, 15, 0, number): f"IL1DATA{number}_EL1" for number in range(4)},
    **{(3, 0, 15, 1, number): f"DL1DATA{number}_EL1" for number in range(5)},
}
