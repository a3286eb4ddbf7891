"""Local states: the state of one actor, its next operation, and the local states that it leads to.

Visits of one local state cannot be told apart: the registers are the same, or the host task has made the same
observations. The result of an operation is what the actor observes, so a local state has one edge for each
observation that has been made there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from emu.actor import State
from emu.outcome import Outcome


class Verb(Enum):
    """What an action does to what is shared."""

    LOCAL = 0  # nothing: barriers, delays, instructions that nobody observes
    ACCESS = 1  # loads and stores, in this order
    UPDATE = 2  # compare and exchange
    UNTIL = 3
    POLL = 4
    WFE = 5
    SEV = 6
    SEVL = 7
    SEND = 8  # an interrupt
    WFI = 9
    CALL = 10  # firmware
    MAINTAIN = 11  # DC by VA
    LOAD_EXCLUSIVE = 12
    STORE_EXCLUSIVE = 13
    DELAY = 14  # until time has passed


class Access(NamedTuple):
    """One load or store: PA, bytes, and of a store the value (u64)."""

    pa: int
    size: int
    is_store: bool
    value: int = 0
    cacheable: bool = True
    plain: bool = False


@dataclass(slots=True, eq=False)
class Action:
    """The next operation of an actor in a local state.

    :ivar accesses: in program order
    :ivar detail: by verb: (expected, new) of UPDATE, the Poll or LoadUntil itself, the CPU of SEND, the
        arguments of CALL, the word of MAINTAIN
    :ivar where: VA of the instruction, or ``file:line`` of a host task
    """

    verb: Verb
    accesses: tuple[Access, ...] = ()
    detail: tuple[object, ...] = ()
    where: int | str = 0
    # Filled by emu.explore.footprints for the round that runs: bits of what is read and written, and of all
    # that overlaps these.
    reads: int = 0
    writes: int = 0
    reads_over: int = 0
    writes_over: int = 0
    clashes: int = 0  # like writes_over, without what everybody stores the same value to
    followed: bool = False  # goes through a line of the caches
    cells: tuple[tuple[int, int, int, int, bool], ...] = ()  # (PA >> 3, shift, mask, value, is a store)

    is_plain: bool = False  # an access that the compiler may do with as it likes

    def __post_init__(self) -> None:
        self.is_plain = any(access.plain for access in self.accesses)


class Edge(NamedTuple):
    """What an observation leads to: the next local state, and the trace records of the step."""

    local: LocalState
    records: bytes
    holds: bool = False  # some are about lines of dmesg that are held


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


@dataclass(slots=True, eq=False)
class LocalState:
    """Where an actor stands.

    :ivar context: the PE, packed (:meth:`emu.cpu.pe.PE.state`)
    :ivar history, suspended: of the host task that runs, and of one that waits for a guest call
    :ivar armed: PA of the exclusives granule that the monitor would be armed for if nobody had cleared it
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
    is_target: bool = False
    edges: dict[object, Edge] = field(default_factory=dict)
    # Bits that this actor may read and write from here on, as far as is known.
    reads: int = 0
    writes: int = 0

    @property
    def is_off(self) -> bool:
        """Whether firmware has to switch the actor on before it does anything."""
        return self.state is State.OFF
