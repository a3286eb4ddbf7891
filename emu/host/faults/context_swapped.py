"""Firmware hands the CPU the context ID of another one. Source: Arm DEN0022 5.6, CPU_ON context_id."""

from __future__ import annotations

from emu.host.faults import CpuOn, Fault, FaultedSubject

NAME = "context-swapped"
ARGUMENT = "the CPU whose context ID it gets"


class ContextSwapped(Fault):
    """x0 of CPU ``argument``."""

    def cannot_be(self, cpus: int) -> str:
        """The other CPU is a secondary too."""
        return "" if 1 <= self.argument < cpus else f"the secondaries are CPU1..CPU{cpus - 1}"

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A secondary that takes no context ID, and its own."""
        if subject.cpu == self.argument:
            return f"CPU{subject.cpu} gets its own context ID"
        return "" if subject.context_id else "no secondary takes a context ID"

    def cpu_on(self, request: CpuOn) -> None:
        """Take the other's."""
        request.context_id = request.contexts[self.argument]


FAULT = ContextSwapped
