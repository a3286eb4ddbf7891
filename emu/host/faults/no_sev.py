"""The boot CPU names the CPU and does not send the event that wakes it.

Source: Linux v6.12 arch/arm64/kernel/smp_spin_table.c, smp_spin_table_cpu_boot().
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.faults import Fault, FaultedSubject
from emu.machine.actor import Filtered
from emu.operation import Operation, SendEvent

NAME = "no-sev"


class NoSev(Fault):
    """No SEV behind the release words."""

    excuses = False

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A method without an event."""
        return subject.without_event()

    def of_boot_cpu(self, task: Generator[Operation, Any, Any]) -> Generator[Operation, Any, Any]:
        """Leave SEV out."""
        return Filtered(task, lambda operation: not isinstance(operation, SendEvent))


FAULT = NoSev
