"""Firmware keeps 32 bits of the context ID, as if CPU_ON32 had been called. Source: Arm DEN0022 5.6."""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault, FaultedSubject

NAME = "context-truncated"


class ContextTruncated(Fault):
    """x0 = the low word."""

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A secondary that takes no context ID."""
        return "" if subject.context_id else "no secondary takes a context ID"

    def cpu_on(self, request: CpuOn) -> None:
        """Truncate it."""
        request.context_id &= 0xFFFF_FFFF


FAULT = ContextTruncated
