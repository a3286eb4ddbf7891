"""What a memory model is: what a load may return, when a store is seen by whom, what may happen by itself.

A model keeps state of *units* of memory, each of ``granule`` bytes; whatever lies in no unit is plain memory
that all CPUs see alike. It has two sides that must agree: :class:`ExploredMemory` on values, for
explorations, and :class:`MachineMemory` on a machine's memory. Both are made of the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from emu.memory import Memory
from emu.operation import Access, Kind, Operation


class Note(NamedTuple):
    """A trace record that a model makes: its kind, a PA, a value (u64), a size in bytes."""

    kind: Kind
    pa: int
    value: int
    size: int


class Loaded(NamedTuple):
    """What a load may return: the value (unsigned), the model's state after it, what it notes before that."""

    value: int
    state: Hashable
    notes: tuple[Note, ...] = ()


class Changed(NamedTuple):
    """The model's state after something that gives no value, and what it notes."""

    state: Hashable
    notes: tuple[Note, ...] = ()


class ExploredMemory(Protocol):
    """The state of the units of one exploration, as hashable values. An access lies in one unit."""

    @property
    def units(self) -> Sequence[int]:
        """Their first PAs, ascending."""

    @property
    def granule(self) -> int:
        """Bytes of each."""

    def initial(self, read: Callable[[int, int], bytes], behind: Mapping[int, bytes] = ...) -> Hashable:
        """Return the state at the beginning; ``read`` gives bytes by PA and size.

        :param behind: as :attr:`emu.memory.Memory.behind`
        """
        ...

    def loads(self, state: Hashable, cpu: int, access: Access) -> tuple[Loaded, ...]:
        """Return everything that a load of ``cpu`` may return now, at least one."""
        ...

    def store(self, state: Hashable, cpu: int, access: Access) -> Changed:
        """Make a store of ``cpu``."""
        ...

    def barrier(self, state: Hashable, cpu: int, word: int) -> Changed:
        """Carry out a DMB, DSB or ISB of ``cpu``; ``word`` is the instruction."""
        ...

    def maintain(self, state: Hashable, cpu: int, word: int, pa: int, *, delayed: bool) -> Changed:
        """Carry out a DC or IC by VA of ``cpu`` on the unit of ``pa``; ``word`` is the instruction.

        :param delayed: it takes effect later: by itself, or with a barrier of ``cpu``
        """
        ...

    def elapse(self, state: Hashable) -> Changed:
        """Let so much time pass that whatever is delayed has taken effect."""
        ...

    def choices(self, state: Hashable, unit: int) -> tuple[str, ...]:
        """Return what may happen to unit number ``unit`` by itself, as letters of schedules."""
        ...

    def choose(self, state: Hashable, unit: int, letter: str) -> Changed:
        """Let one of these happen."""
        ...

    def at_end(self, state: Hashable) -> tuple[Note, ...]:
        """Return what is lost after the last step of any CPU, and what happens to the units that lose it."""
        ...

    def seen(self, state: Hashable, cpu: int, unit: int, cacheable: bool) -> bytes:
        """Return the bytes of a unit as ``cpu`` finds them with these attributes."""
        ...

    def describe(self, before: Hashable, after: Hashable, unit: int) -> str:
        """Return what a unit has become, in a few words for people; nothing when it has not changed."""
        ...


class MachineMemory(Protocol):
    """A model on a running machine: it lets the engine's memory show what each access finds."""

    def access(self, cpu: int, pa: int, size: int, cacheable: bool, is_store: bool) -> None:
        """An access of ``cpu`` is about to be made; it ends with the next call of any method."""
        ...

    def settle(self) -> None:
        """The access is over: take note of what it stored."""
        ...

    def maintain(self, cpu: int, word: int, pa: int, *, delayed: bool) -> None:
        """Carry out a DC or IC by VA of ``cpu``, as :meth:`ExploredMemory.maintain`."""
        ...

    def barrier(self, cpu: int, word: int) -> None:
        """Carry out a DMB, DSB or ISB of ``cpu``; ``word`` is the instruction."""
        ...

    def state(self) -> Hashable:
        """Return the state of all units, once the last access is settled."""
        ...

    def set_state(self, state: Hashable) -> None:
        """Go back to what :meth:`state` has returned."""
        ...

    def unit(self, pa: int) -> bytes:
        """Return the copies of the unit of ``pa`` other than memory: other bytes, other loads may differ."""
        ...

    def seen(self, cpu: int, pa: int, size: int, cacheable: bool) -> bytes:
        """Return the bytes that a load of ``cpu`` with these attributes would get now; nothing changes."""
        ...

    def held(self) -> list[tuple[range, str]]:
        """Return the units that have copies beside memory, or are about to change, ascending by PA.

        Each as its PAs and what :meth:`describe` says of it.
        """
        ...

    def describe(self, pa: int) -> str:
        """Return what the unit of ``pa`` is now, in a few words for people."""
        ...

    def put(self, pa: int, data: bytes) -> None:
        """Let all copies of these bytes be ``data``: nobody stores it, as of a loader or a debugger."""
        ...

    def empty(self) -> None:
        """Let memory be as whoever has newest bytes has them, and hold no copies."""
        ...

    def elapse(self) -> None:
        """Let so much time pass that whatever is delayed has taken effect."""
        ...

    def at_end(self) -> tuple[Note, ...]:
        """Return what :meth:`ExploredMemory.at_end` says of all units."""
        ...

    def choose(self, pa: int, letter: str) -> None:
        """Let happen by itself what ``letter`` says, to the unit at ``pa``.

        :raises ValueError: the unit's state does not allow it
        """
        ...


# Takes the kind, PA, value (u64) and size in bytes of a trace record.
NoteSink = Callable[[Kind, int, int, int], None]


class MemoryModel(Protocol):
    """A member of this folder: ``MODEL`` of its module.

    :ivar name: the word of ``--memory``
    :ivar granules: what ``--granule`` may be, in bytes; none: the model has no such parameter
    :ivar choices: the letters of :meth:`ExploredMemory.choices`, in the order of their numbers in LINE
        records, with what they say of a unit ``{}``
    :ivar records: the kinds of trace records that it makes
    :ivar uses_attributes: whether it matters if an access is cacheable
    """

    name: str
    granules: tuple[int, ...]
    choices: Mapping[str, str]
    records: frozenset[Kind]
    uses_attributes: bool

    def maintains(self, word: int) -> bool:
        """Tell whether a DC or IC instruction by VA does anything in this model."""
        ...

    def cleans(self, word: int) -> bool:
        """Tell whether maintenance shows what others have stored in the unit to who accesses past it."""
        ...

    def completes(self, word: int) -> bool:
        """Tell whether a barrier instruction ends the maintenance of its CPU that is delayed."""
        ...

    def units(self, operations: Iterable[Operation], granule: int) -> list[int]:
        """Return the PAs of the units whose state matters to these operations, ascending."""
        ...

    def explored(self, units: Sequence[int], granule: int) -> ExploredMemory:
        """Return the model of these units, for an exploration."""
        ...

    def on_machine(self, memory: Memory, granule: int, note: NoteSink) -> MachineMemory | None:
        """Return the model on a machine's memory; None: memory alone is the model."""
        ...
