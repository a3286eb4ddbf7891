"""Local states: the state of one actor, its next operation, and the local states that it leads to.

Visits of one local state cannot be told apart: the registers are the same, or the host task has made the same
observations. The result of an operation is what the actor observes, so a local state has one edge for each
observation that has been made there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from emu.explore.cells import Parts
from emu.machine.actor import State
from emu.operation import Access, Load, LoadExclusive, LoadUntil, MemoryAccess, Operation, Poll
from emu.outcome import Outcome
from emu.semantics.parts import Made
from emu.semantics.transition import accesses, loads


@dataclass(slots=True, eq=False)
class Action:
    """The next operation of an actor in a local state, and its footprint.

    :ivar where: VA of the instruction, or ``file:line`` of a host task
    :ivar accesses: what the operation loads and stores, in program order; ``loads``: those that give values
    :ivar only_looks: it loads and does nothing else, but for an exclusive monitor that it arms
    :ivar lacks_monitor: it is exclusive or atomic, and its memory is not Normal Write-Back
    :ivar updates: it is an atomic of a PE, which stores what it makes of what it has loaded
    :ivar waits: it is a LoadUntil or a Poll, which is done only when its wait is over
    """

    operation: Operation
    where: int | str = 0
    accesses: tuple[Access, ...] = ()
    loads: tuple[Access, ...] = ()
    is_plain: bool = False  # C code that the compiler may tear, fuse or repeat
    only_looks: bool = False
    waits: bool = False
    lacks_monitor: bool = False
    updates: bool = False
    # Filled by emu.explore.footprints for the round that runs: bits of what is read and written, and of all
    # that overlaps these.
    reads: int = 0
    writes: int = 0
    reads_over: int = 0
    writes_over: int = 0
    clashes: int = 0  # like writes_over, without what everybody stores the same value to
    swapped: int = 0  # of writes: not in the way of a store of the same value
    differs: int = 0  # stores of other values to the same words
    followed: bool = False  # it touches a unit of the memory model
    cells: Parts = ()
    seen: bool = False  # a property sees what the step changes
    apart: tuple[tuple[int, Action], ...] = ()  # its parts, by number, when each can be made alone
    # Its transition changes plain memory alone, or nothing that CPUs share: `cells` say all of it.
    is_simple: bool = False

    def __post_init__(self) -> None:
        self.accesses = accesses(self.operation)
        self.loads = loads(self.operation)
        self.is_plain = any(access.plain for access in self.accesses)
        looks = isinstance(self.operation, Load | MemoryAccess | LoadExclusive)
        stores = any(access.is_store for access in self.accesses)
        self.only_looks = looks and not stores
        self.updates = isinstance(self.operation, MemoryAccess) and stores and bool(self.loads)
        self.waits = isinstance(self.operation, LoadUntil | Poll)


@dataclass(frozen=True, slots=True)
class OfPart:
    """The observation of one part that is made alone: its number, and what it loads."""

    number: int
    value: object


class Edge(NamedTuple):
    """What an observation leads to: the next local state, and the trace records of the step.

    :ivar reached: the local state that it really leads to, of which ``local`` does the same
    """

    local: LocalState
    reached: LocalState
    records: bytes
    defers: bool = False  # some records are about log lines that come out later
    reads_time: bool = False  # the step reads the counter, which stands where each step begins


@dataclass(slots=True, eq=False)
class TaskHistory:
    """How far a host task has come: what it is, and what it has been given since it began."""

    root: tuple[object, ...]
    parent: TaskHistory | None = None
    given: object = None
    children: dict[object, TaskHistory] = field(default_factory=dict)

    def values(self) -> list[object]:
        """Return what the task has been given, in order."""
        found: list[object] = []
        history = self
        while history.parent is not None:
            found.append(history.given)
            history = history.parent
        return found[::-1]


class Updates(NamedTuple):
    """What a local state has to do with updates, as sets of bits (:mod:`emu.explore.history`).

    :ivar open: its CPU has loaded the word, and may store what it makes of that
    :ivar loses: its action is such a store
    :ivar outdates: its action stores to the word that another CPU may have loaded
    """

    open: int = 0
    loses: int = 0
    outdates: int = 0


NO_UPDATES = Updates()


@dataclass(slots=True, eq=False)
class LocalState:
    """The state of one actor.

    :ivar context: the registers of the PE, compressed
    :ivar history, suspended: of the host task that runs, and of one that waits for a guest call
    :ivar armed: PA that the exclusive monitor is armed for, unless another CPU has cleared it
    :ivar made: the parts of the next instruction that are made
    :ivar outcome, at: where the actor ends if it stays here (:class:`emu.operation.Kind` OUTCOME)
    :ivar is_target: an edge led here that did not make it: there may be a loop
    """

    number: int
    cpu: int
    state: State
    context: bytes
    history: TaskHistory | None
    suspended: TaskHistory | None
    armed: int | None
    landings: int
    said: Outcome | None
    outcome: Outcome
    at: int
    action: Action
    made: tuple[Made, ...] = ()
    is_target: bool = False
    edges: dict[object, Edge] = field(default_factory=dict)
    # Bits that this actor may read and write from here on, as far as is known.
    reads: int = 0
    writes: int = 0
    updates: Updates = NO_UPDATES  # as far as is known
    is_open: bool = True  # it may lead to where nobody has seen yet what comes next

    @property
    def is_off(self) -> bool:
        """Whether firmware has to switch the actor on before it does anything."""
        return self.state is State.OFF
