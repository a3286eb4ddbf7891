"""Actors: CPUs, each of which runs guest code on its PE or a host task instead of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from functools import cache
from pathlib import Path
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.cpu.pe import PE
from emu.operation import Operation
from emu.outcome import OFF, End, Outcome
from emu.semantics.parts import Made

if TYPE_CHECKING:
    from emu.machine.naps import Nap

PACKAGES = Path(__file__).parent.parent.parent  # the folder that the package is in
LOOK_AFTER = 1 << 15  # instructions of a PE before it is looked at, whether it goes round
# A host task that plays firmware gives the entry (PA, x0) at which its CPU goes on in guest code.
HostTask = Generator[Operation, Any, "tuple[int, int] | None"]


class Filtered(Generator[Operation, Any, Any]):
    """A host task without the operations that ``keep`` refuses; to it they gave None."""

    def __init__(self, task: Generator[Operation, Any, Any], keep: Callable[[Operation], bool]) -> None:
        self.task = task
        self._keep = keep

    def send(self, value: Any) -> Operation:
        """Go on to the next operation that is kept."""
        operation = self.task.send(value)
        while not self._keep(operation):
            operation = self.task.send(None)
        return operation

    def throw(self, *error: Any) -> Operation:
        """Let the task have an exception."""
        return self.task.throw(*error)


class Grain(Enum):
    """What a PE does before the scheduler picks again; the same operations result at any grain."""

    FREE = "free"
    OPERATION = "operation"
    INSTRUCTION = "instruction"


class State(Enum):
    """What an actor is up to."""

    OFF = "off"
    RUNNABLE = "runnable"
    WAITING = "waiting"  # for an event
    IDLE = "idle"  # until an interrupt
    DELAYED = "delayed"
    SPINNING = "spinning"  # a host task in a LoadUntil, or a PE that goes round
    ENDED = "ended"

    is_shared: bool  # whether the system state has it: power, or a sleep that others can end

    def __init__(self, word: str) -> None:
        self.is_shared = word in ("off", "waiting", "idle")


class Actor:
    """One CPU: its PE, the host task that runs instead of guest code (or None), and its state."""

    __slots__ = (
        "advances",
        "deadline",
        "ended_at",
        "landings",
        "look_at",
        "nap",
        "made",
        "outcome",
        "pe",
        "pending",
        "raised",
        "repeats",
        "repeats_max",
        "restarted",
        "spent",
        "spins",
        "slept",
        "state",
        "suspended",
        "task",
        "time",
        "waited",
    )

    def __init__(self, pe: PE) -> None:
        self.pe = pe
        self.task: HostTask | None = None
        self.suspended: HostTask | None = None  # the task that waits for a GuestCall
        self.pending: Operation | None = None  # the host task's next operation
        self.state = State.OFF
        self.time = 0  # ns
        self.spent = 0  # ns of the PE's counters that `time` has
        self.deadline = 0
        self.waited = 0  # ns in the Poll that is pending
        self.slept = False  # a wait that is pending was not over at the first look
        self.restarted = False  # the task was Again where it began
        self.landings = 0
        self.advances = 0  # how often the host task has been sent a result
        self.look_at = LOOK_AFTER  # retired instructions after which it may be going round
        self.nap: Nap | None = None  # how its PE waits, where that is understood
        self.raised = (0, 0)  # the last exception: return address and syndrome
        self.repeats = 0  # how often that one has been taken again, one after the other
        self.repeats_max = 64  # after so many it may be going round
        self.spins: tuple[Outcome, int] | None = None  # it goes round: how it would end, and at which VA
        self.made: tuple[Made, ...] = ()  # parts of the PE's next instruction, in the order of their numbers
        self.outcome: Outcome | None = None  # None: it has not ended, and is not online
        self.ended_at: int | None = None  # VA at which it has ended, where that is not its PC


class ActorState(NamedTuple):
    """The state of an actor, but for its PE (:class:`Actor` has the meanings)."""

    state: State
    task: HostTask | None
    suspended: HostTask | None
    pending: Operation | None
    outcome: Outcome | None
    landings: int
    made: tuple[Made, ...] = ()


def outcome_of(actor: Actor) -> Outcome:
    """Return how an actor has ended, or would if it did nothing more."""
    if actor.outcome is not None:
        return actor.outcome
    if actor.state is State.OFF:
        return OFF
    if actor.spins is not None:
        return actor.spins[0]
    if actor.state is State.WAITING:
        return Outcome(End.ASLEEP_WFE)
    if actor.state is State.IDLE:
        return Outcome(End.ASLEEP_WFI)
    if actor.state is State.SPINNING or actor.task is not None:
        return Outcome(End.IN_HOST_TASK, function_name(actor.task))
    return Outcome(End.RUNNING)


def end_pc(actor: Actor) -> int:
    """Return the VA at which an actor ends if it does nothing more: of a sleeper its WFE; 0: ran no code."""
    if actor.state is State.ENDED and actor.ended_at is not None:
        return actor.ended_at
    if actor.spins is not None:
        return actor.spins[1]
    asleep_in_code = actor.state is State.WAITING and actor.task is None
    return actor.pe.pc - 4 if asleep_in_code else actor.pe.pc


def location(task: HostTask | None) -> str:
    """Return file:line of the ``yield`` that ``task``, or what it delegates to, has reached."""
    task = _innermost(task)
    return f"{file_name(task.gi_code.co_filename)}:{task.gi_frame.f_lineno if task.gi_frame else 0}"


def function_name(task: HostTask | None) -> str:
    """Return the name of the generator function that ``task``, or what it delegates to, runs."""
    return str(_innermost(task).gi_code.co_name)


def _innermost(task: HostTask | None) -> GeneratorType[Any, Any, Any]:
    # The generator that `task` has come to by `yield from`. Asked for each operation, and isinstance() of
    # Filtered, an abstract base class, takes as long as all the rest of it.
    inner: Any = task
    while True:
        if inner.__class__ is Filtered:
            inner = inner.task
        assert inner.__class__ is GeneratorType
        deeper = inner.gi_yieldfrom
        if deeper.__class__ is not GeneratorType and deeper.__class__ is not Filtered:
            found: GeneratorType[Any, Any, Any] = inner
            return found
        inner = deeper


def generators(task: HostTask | None) -> list[GeneratorType[Any, Any, Any]]:
    """Return the generators that ``task`` is in, by `yield from`, the outermost first."""
    found: list[GeneratorType[Any, Any, Any]] = []
    inner: Any = task
    while True:
        if isinstance(inner, Filtered):
            inner = inner.task
        elif isinstance(inner, GeneratorType):
            found.append(inner)
            inner = inner.gi_yieldfrom
        else:
            return found


@cache
def file_name(path: str) -> str:
    """Return the path of a file below PACKAGES, as a trace must not tell where that is; else its name."""
    here = Path(path)
    return str(here.relative_to(PACKAGES)) if here.is_relative_to(PACKAGES) else here.name
