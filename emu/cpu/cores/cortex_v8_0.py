"""What Cortex-A53, A57 and A72 have in common beyond the architecture: registers that are not modelled.

:source: Cortex-A72 TRM (100095), 4.3
"""

from __future__ import annotations

from emu.arch.sysreg import Encoding

UNMODELLED: dict[Encoding, str] = {
    (3, 1, 11, 0, 2): "L2CTLR_EL1",
    (3, 1, 11, 0, 3): "L2ECTLR_EL1",
    (3, 1, 15, 0, 0): "L2ACTLR_EL1",
    (3, 1, 15, 2, 0): "CPUACTLR_EL1",
    (3, 1, 15, 2, 1): "CPUECTLR_EL1",
    (3, 1, 15, 2, 2): "CPUMERRSR_EL1",
    (3, 1, 15, 2, 3): "L2MERRSR_EL1",
}
# RAM index results, of Cortex-A57 and A72.
RAM_DATA: dict[Encoding, str] = {
    **{(3, 0, 15, 0, number): f"IL1DATA{number}_EL1" for number in range(4)},
    **{(3, 0, 15, 1, number): f"DL1DATA{number}_EL1" for number in range(5)},
}
