"""Firmware loses the context ID: the CPU starts with x0 = 0. Source: Arm DEN0022 5.6, CPU_ON context_id."""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault, FaultedSubject

NAME = "context-lost"


class ContextLost(Fault):
    """x0 = 0."""

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A secondary that takes no context ID."""
        return "" if subject.context_id else "no secondary takes a context ID"

    def cpu_on(self, request: CpuOn) -> None:
        """Lose it."""
        request.context_id = 0


FAULT = ContextLost
