"""The CPU's hwid is in no table, so its look-up finds nothing.

The tables of a design lack it. A kernel that fills its tables itself has what firmware lists in them, and the
CPU's MPIDR is another.

Source: review of the v3 series (unmatched MPIDR).
"""

from __future__ import annotations

from emu.host.faults import Fault, FaultedSubject

NAME = "no-match"


class NoMatch(Fault):
    """The kernel's tables lack the CPU."""

    ends = True

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """Code that looks nothing up misses nothing."""
        return "" if subject.built.looks_up else "no CPU of it looks itself up by its MPIDR"

    def in_table(self) -> bool:
        """It is not."""
        return False


FAULT = NoMatch
