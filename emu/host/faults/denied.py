"""Firmware answers DENIED so many times, then starts the CPU.

Source: Arm DEN0022 5.6, DENIED; vCPU hotplug.
"""

from __future__ import annotations

from emu.arch.psci import Return
from emu.host.faults import CpuOn, Fault

NAME = "denied"
ARGUMENT = "how many calls are denied"


class Denied(Fault):
    """The first ``argument`` calls return DENIED."""

    def cannot_be(self, cpus: int) -> str:
        """It is 1 or more."""
        return "" if self.argument else "0 denies no call"

    def cpu_on(self, request: CpuOn) -> None:
        """Deny while the count lasts."""
        if request.call < self.argument:
            request.result = Return.PSCI_RET_DENIED


FAULT = Denied
