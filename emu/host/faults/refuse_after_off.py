"""Firmware cannot start a CPU again that was switched off: CPU_ON returns INVALID_PARAMETERS.

Source: reports of such firmware; Arm DEN0022 5.6 has no such case.
"""

from __future__ import annotations

from emu.arch.psci import Return
from emu.host.faults import CpuOn, Fault, FaultedSubject

NAME = "refuse-after-off"


class RefuseAfterOff(Fault):
    """-2 after CPU_OFF."""

    of_second_start = True

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A kernel that does not come to the second CPU_ON."""
        return "" if subject.starts_again else "its data is read-only after init: no CPU is started again"

    def cpu_on(self, request: CpuOn) -> None:
        """Refuse a second life."""
        if request.after_off:
            request.result = Return.PSCI_RET_INVALID_PARAMS


FAULT = RefuseAfterOff
