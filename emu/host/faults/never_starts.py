"""Firmware says SUCCESS and never starts the CPU. Source: Arm DEN0022, CPU_ON; reports of such firmware."""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault

NAME = "never-starts"


class NeverStarts(Fault):
    """CPU_ON without an effect."""

    ends = before_code = True

    def cpu_on(self, request: CpuOn) -> None:
        """Start nothing."""
        request.starts = 0


FAULT = NeverStarts
