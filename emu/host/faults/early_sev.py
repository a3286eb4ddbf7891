"""The boot CPU sends the event before it names the CPU: who wakes finds nothing, and sleeps on.

Source: Linux v6.12 arch/arm64/kernel/smp_spin_table.c, smp_spin_table_cpu_boot(), has it the other way round.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.faults import Fault, FaultedSubject
from emu.machine.actor import Filtered
from emu.operation import Operation, SendEvent

NAME = "early-sev"


class EarlySev(Fault):
    """SEV in front of the store, not behind it."""

    excuses = False

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A method without an event."""
        return subject.without_event()

    def of_boot_cpu(self, task: Generator[Operation, Any, Any]) -> Generator[Operation, Any, Any]:
        """Send the event first, and none behind."""
        yield SendEvent()
        return (yield from Filtered(task, lambda operation: not isinstance(operation, SendEvent)))


FAULT = EarlySev
