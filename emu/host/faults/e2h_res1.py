"""The CPU is always in VHE mode at EL2: HCR_EL2.E2H is RES1 (no FEAT_E2H0), the boot CPU's is not.

Source: Arm DDI 0487, HCR_EL2.E2H and ID_AA64MMFR4_EL1.E2H0; Linux v6.12 head.S, init_el2.
"""

from __future__ import annotations

from emu.cpu.cores import core_of
from emu.errors import InvalidCase
from emu.host.faults import Fault, FaultedSubject
from emu.topology import Cpu

NAME = "e2h-res1"


class E2hRes1(Fault):
    """E2H reads as 1, whatever is written."""

    excuses = False

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A CPU that never sees EL2."""
        return "" if subject.entry_el == 2 else "CPUs are entered at EL1 (--el 2)"

    def is_e2h_res1(self, cpu: Cpu) -> bool:
        """It is.

        :raises InvalidCase: the CPU has no VHE
        """
        core = core_of(cpu.midr)
        if not core.has("FEAT_VHE"):
            raise InvalidCase(f"fault={NAME}: {core.name} has no VHE (--cpu neoverse-n1)")
        return True


FAULT = E2hRes1
