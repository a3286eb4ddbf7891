"""Firmware starts the CPU later than the latency profile says: the boot CPU may have given up on it.

Source: Arm DEN0022, ON_PENDING.
"""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault

NAME = "late"
ARGUMENT = "the delay in ns"


class Late(Fault):
    """CPU_ON takes effect ``argument`` ns later than ``alive`` of the latency profile."""

    def cannot_be(self, cpus: int) -> str:
        """It is 1 or more."""
        return "" if self.argument else "0 is no delay"

    def cpu_on(self, request: CpuOn) -> None:
        """Delay the start."""
        request.delay_ns += self.argument


FAULT = Late
