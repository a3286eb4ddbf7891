"""The boot CPU stores what the CPU reads with its MMU off, and does not clean it to the PoC.

Source: Linux v6.12 arch/arm64/kernel/smp_spin_table.c, whose write_pen_release() says why it must.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.faults import Fault, FaultedSubject
from emu.machine.actor import Filtered
from emu.operation import CacheOp, Operation

NAME = "no-clean"


class NoClean(Fault):
    """No maintenance of the table entry and of the release words."""

    excuses = False
    of_lines = True

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A boot CPU that cleans nothing for the CPU, or whose own code does."""
        if subject.cleans:
            return ""
        if subject.built.fills_tables:
            return "its own code cleans what it writes; the host does with enable-method=spin-table alone"
        return "the boot CPU cleans nothing that the CPU reads with its MMU off"

    def of_boot_cpu(self, task: Generator[Operation, Any, Any]) -> Generator[Operation, Any, Any]:
        """Leave the cache operations out."""
        return Filtered(task, lambda operation: not isinstance(operation, CacheOp))


FAULT = NoClean
