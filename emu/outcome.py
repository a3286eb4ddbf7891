"""Outcomes: where a CPU is when a run ends, as data. report/ makes the words."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class End(IntEnum):
    """How a CPU ends. Values are the trace file's (``size`` of an OUTCOME record); append only."""

    OTHER = 0  # name: the words that an emu before this enum has put into its trace
    RUNNING = 1  # it could go on
    OFF = 2
    ASLEEP_WFE = 3
    ASLEEP_WFI = 4  # a host task's
    IN_HOST_TASK = 5  # name: the function
    ONLINE = 6
    RUNS_AS = 7  # number: the logical CPU that it takes itself for
    SELF_BRANCH = 8
    WAITS_FOR_INTERRUPT = 9  # a PE's WFI
    VECTOR_WITHOUT_CODE = 10  # number: ESR of the exception that the vector's first instruction raises
    VECTOR_RAISES = 11  # likewise, where there is code
    CONSTRAINT_VIOLATION = 12  # name: the constraint of the engine that the guest does not keep
    UNMODELLED = 13  # name: what is not modelled
    PANIC = 14
    STOPPED = 15  # by IPI_CPU_STOP
    CPU_PANIC_KERNEL = 16  # parked there
    CPU_DIE = 17  # parked there
    PRIMARY_DID_NOT_BOOT = 18  # after kexec
    HOST_TASK_ENDED = 19  # name: what the task says
    SPINS = 21  # it goes round, and nobody will end it; number: PA of a word that it looks at, or 0
    EXCEPTION_LOOP = 22  # it takes an exception for ever; number: ESR
    CPU_PARK_LOOP = 23  # parked there: it cannot be switched off
    HOLE = 20  # a logical number that no CPU has; not in traces


class Outcome(NamedTuple):
    """How a CPU ends, and the detail that :class:`End` names."""

    end: End
    name: str = ""
    number: int = 0


OFF = Outcome(End.OFF)
ONLINE = Outcome(End.ONLINE)
HOLE = Outcome(End.HOLE)
OTHER = Outcome(End.OTHER)


def ended(name: str) -> Outcome:
    """Return the outcome of a host task that has done all that it was for; ``name`` says what that is."""
    return Outcome(End.HOST_TASK_ENDED, name)
