"""The system counter of the generic timer, and simulated time: 62.5 MHz, from 0 on (Arm DDI 0487, D12)."""

from __future__ import annotations

FREQUENCY_HZ = 62_500_000  # CNTFRQ_EL0
TICK = 1_000_000_000 // FREQUENCY_HZ  # ns


def count_at(now: int) -> int:
    """Return the physical count, CNTPCT_EL0, at a time in ns."""
    return now // TICK


def ns_of(count: int) -> int:
    """Return the first time in ns at which the physical count is ``count``."""
    return count * TICK
