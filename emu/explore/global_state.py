"""Global states as values, and the transitions between them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from emu.explore.cells import Undo
from emu.explore.local_state import Edge, LocalState
from emu.machine.firmware import StartLater
from emu.models.protocol import Note
from emu.schedulers import Pick
from emu.semantics.state import SystemState


class GlobalState(NamedTuple):
    """One global state, without memory, of which ``memory`` is a digest (:mod:`emu.explore.cells`).

    :ivar locals: the local state of each actor
    :ivar system: what the CPUs share besides memory
    :ivar firmware: what it remembers
    :ivar later: starts of CPUs that firmware delays
    :ivar model: the memory model's state of its units
    :ivar early: time-outs and wake-ups that came without need
    :ivar failed: store-exclusives that failed by themselves since one passed, 4 bits for each CPU
    :ivar history: bits of :mod:`emu.explore.history`: what was loaded and stored over since; above
        these, what was lost
    :ivar seen: bits of the ``eventually`` that have been true (:mod:`emu.explore.watch`)
    :ivar noted: what rules about the memory model tell an end by: (PA, value) of each store that was lost,
        (CPU, PA, bytes) of each place whose last look by that CPU was stale
    """

    locals: tuple[LocalState, ...]
    memory: int
    system: SystemState
    firmware: Hashable
    later: tuple[StartLater, ...]
    model: Hashable
    early: int
    failed: int = 0
    history: int = 0
    seen: int = 0
    noted: frozenset[tuple[int, ...]] = frozenset()


class Transition(NamedTuple):
    """A transition that was taken: the pick, the edges it led through, and what was noted before these."""

    pick: Pick
    edges: tuple[tuple[int, Edge], ...]
    notes: tuple[Note, ...] = ()


Stepped = tuple[GlobalState, Undo, Transition]
