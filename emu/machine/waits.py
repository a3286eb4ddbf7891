"""What the waits of a run came to, besides time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Waits:
    """Counts over all CPUs.

    :ivar looks: how often a host task has looked at a word that it polls
    :ivar sleeps: how often one has slept: for a completion that was not there yet, or between two looks
    :ivar lock_waits: how often a CPU_ON has waited for CPUs that were on their way
    :ivar lock_ns: for so long, in all
    """

    looks: int = 0
    sleeps: int = 0
    lock_waits: int = 0
    lock_ns: int = 0
