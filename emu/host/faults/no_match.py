"""The CPU's hwid is in no table, so its look-up finds nothing.

Source: review of the v3 series (unmatched MPIDR).
"""

from __future__ import annotations

from emu.host.faults import Fault

NAME = "no-match"


class NoMatch(Fault):
    """The kernel's tables lack the CPU."""

    def in_table(self) -> bool:
        """It is not."""
        return False


FAULT = NoMatch
