"""Firmware starts the CPU twice: once it runs, it is reset to the entry point again.

Source: Arm DEN0022 5.6.
"""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault

NAME = "double-start"


class DoubleStart(Fault):
    """Two starts for one CPU_ON."""

    def cpu_on(self, request: CpuOn) -> None:
        """Start it twice."""
        request.starts = 2


FAULT = DoubleStart
