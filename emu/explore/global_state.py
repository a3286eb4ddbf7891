"""Global states as values, and the transitions between them."""

from __future__ import annotations

from typing import Any, NamedTuple

from emu.explore.local_state import Edge, LocalState
from emu.models.caches import Line
from emu.operation import Kind
from emu.schedulers import Pick


class GlobalState(NamedTuple):
    """One global state, without memory, of which ``memory`` is a hash.

    :ivar locals: the local state of each actor
    :ivar events, interrupts, lost: by bit, the CPUs whose event register is set, that have an interrupt
        pending, whose monitor somebody else has cleared
    :ivar firmware: what it remembers
    :ivar later: starts of CPUs that firmware delays
    :ivar lines: the followed cache lines
    :ivar early: time-outs and wake-ups that came without need
    """

    locals: tuple[LocalState, ...]
    memory: int
    events: int
    interrupts: int
    lost: int
    firmware: Any
    later: tuple[tuple[int, tuple[Any, ...]], ...]
    lines: tuple[Line, ...]
    early: int


class Note(NamedTuple):
    """A record that the memory model makes."""

    kind: Kind
    pa: int
    value: int
    size: int


class Transition(NamedTuple):
    """A step that was taken: the pick, what it led through, and what the memory model noted before that."""

    pick: Pick
    edges: tuple[tuple[int, Edge], ...]
    notes: tuple[Note, ...] = ()


Undo = list[tuple[int, "int | None"]]
Stepped = tuple[GlobalState, Undo, Transition]
