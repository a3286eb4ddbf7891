"""Milestones of a bring-up, by which its time is told."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Milestone(IntEnum):
    """How far the bring-up of a CPU is: BEGIN to END, and ASKED, on the boot CPU, the rest on the CPU."""

    BEGIN = 0  # the boot CPU turns to it
    KICKED = 1  # and has kicked it
    WAIT = 2  # waits for it to be alive, or online
    SEEN = 3  # has seen that
    END = 4  # turns to something else
    ALIVE = 5  # the CPU says that it is alive
    RELEASED = 6  # may go on
    ONLINE = 7  # is in cpu_online_mask
    STARTED = 8  # begins to execute
    THREAD = 9  # its hotplug thread begins with what the boot CPU asks for
    THREAD_END = 10  # and has done it
    ASKED = 11  # firmware is asked to start it, and will
    MAPPED = 12  # the CPU has its MMU on; where the register is not seen


class Reach(NamedTuple):
    """A milestone of the bring-up of ``cpu``, in the trace where times are."""

    milestone: Milestone
    cpu: int
