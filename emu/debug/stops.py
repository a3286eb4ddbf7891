"""What a debug session stops at: breakpoints, watchpoints, events; and what else the user has set."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from emu.debug.edits import Edit
from emu.machine import Machine
from emu.operation import Kind


class Others(Enum):
    """What the other CPUs do while one is stepped."""

    SCHEDULE = "schedule"  # steps as the scheduler picks them
    STAND = "stand"  # no step
    FREE = "free"  # up to FREE_STEPS steps each, while they are runnable


FREE_STEPS = 256


# Kinds of trace records that a session can stop at, by the user's word; a WFE when it suspends the CPU.
EVENTS = {
    kind.name.lower().replace("_", "-"): kind
    for kind in (
        Kind.EXCEPTION,
        Kind.CALL,
        Kind.MMU,
        Kind.EL,
        Kind.WFE,
        Kind.LAND,
        Kind.POWER_ON,
        Kind.LOG,
    )
}


@dataclass(slots=True)
class Breakpoint:
    """A stop before an instruction, at its PA and at every VA that it is mapped at.

    :ivar pa: PA of the instruction; -1: there is none, but a function of the kernel that the host plays
    :ivar text: the place as the user wrote it; it also stops a host task that enters a function of this name
    :ivar cpu: the only CPU that it stops; -1: any
    :ivar condition: expression (:mod:`emu.debug.expressions`); empty: always
    """

    number: int
    pa: int
    text: str
    cpu: int = -1
    condition: str = ""
    temporary: bool = False
    hits: int = 0


@dataclass(slots=True)
class Watchpoint:
    """A stop after an access to bytes of memory, by a PE or a host task.

    :ivar pa: PA of the first byte
    :ivar size: bytes
    :ivar text: the data as the user wrote it
    :ivar access: "write", "read", "access", or "change" (a write of another value)
    :ivar cpu: the only CPU that it stops; -1: any
    :ivar value: the bytes at the last check, all copies of them
    """

    number: int
    pa: int
    size: int
    text: str
    access: str = "write"
    cpu: int = -1
    hits: int = 0
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class SessionStop:
    """Why a session has stopped.

    :ivar reason: "step", "breakpoint", "watchpoint", "event", "interrupt", "goal", "start" or "end"
    :ivar cpu: logical CPU that made the last step
    :ivar text: what happened, in words
    :ivar number: number of the breakpoint or watchpoint, else 0
    :ivar pa: PA of the access that a watchpoint stopped at, else 0
    """

    reason: str
    cpu: int
    text: str = ""
    number: int = 0
    pa: int = 0


@cache
def plain_step(cpu: int) -> SessionStop:
    """Return the stop behind a step of ``cpu`` of which there is no more to tell."""
    return SessionStop("step", cpu)


@dataclass(frozen=True, slots=True)
class Followed:
    """Memory that is shown at each stop.

    :ivar what: data, or an expression that gives an address; empty: nothing
    :ivar width: bytes of a word
    :ivar form: "hex" or "dec"
    """

    what: str = ""
    width: int = 8
    form: str = "hex"


@dataclass(slots=True)
class DebugSettings:
    """What the user has set. Going back in time keeps it: it is no part of the machine.

    :ivar cpu: the selected CPU
    :ivar forced: by position, the CPU that stepped there although the scheduler had not picked it
    :ivar edits: by position, the changes that the user made there
    :ivar displayed: by number, what ``x`` shows again at each stop
    :ivar followed: the memory of a pane
    """

    breakpoints: dict[int, Breakpoint] = field(default_factory=dict)
    watchpoints: dict[int, Watchpoint] = field(default_factory=dict)
    events: set[Kind] = field(default_factory=set)
    others: Others = Others.SCHEDULE
    cpu: int = 0
    last_number: int = 0
    forced: dict[int, int] = field(default_factory=dict)
    edits: dict[int, list[Edit]] = field(default_factory=dict)
    displayed: dict[int, str] = field(default_factory=dict)
    followed: Followed = field(default_factory=Followed)

    def force(self, steps: range, cpu: int) -> None:
        """``cpu`` makes these steps out of its turn, whatever was done at their positions before.

        If that was something else, what was forced behind them belongs to another course.
        """
        if self.forced and any(self.forced.pop(position, -1) != cpu for position in steps):
            self.forced.clear()

    def edit(self, position: int, machine: Machine) -> None:
        """Make the changes of a position, again where they were made before."""
        for edit in self.edits.get(position, ()):
            edit.apply(machine)
