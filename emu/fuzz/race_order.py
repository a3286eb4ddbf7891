"""Who goes on next in a run in which CPU 0 writes the table and CPU 1 looks itself up."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from emu.arch import a64
from emu.lookup.tear import Tear
from emu.machine import Machine
from emu.machine.actor import State
from emu.operation import Access, LoadExclusive, MemoryAccess
from emu.schedulers import PART, Pick, make_scheduler

Place = tuple[int, int]  # reads that are done, and parts of the next one (:class:`emu.lookup.tear.Change`)


class RaceOrder:
    """The scheduler of a race: the order of a seed, or one with a store in the middle of a read.

    :ivar machine: of which it picks
    :ivar noted: takes note of each pick; None: nothing does
    """

    machine: Machine

    def __init__(self, tears: bool) -> None:
        """``tears``: whether code may read something in parts."""
        self._tears = tears
        self._order: _AtRandom | InTheMiddle | _AtPlaces | None = None
        self.noted: Noted | None = None

    def begin(self, seed: int) -> None:
        """Pick at random from now on."""
        self._order = _AtRandom(self.machine, self._tears, seed)

    def begin_at(self, table: range, places: Sequence[Place]) -> None:
        """Let CPU 0 go on by one step at each of these places in the reads of ``table`` (PAs)."""
        self._order = _AtPlaces(self.machine, table, places)

    def begin_middle(self, entry: range, tear: Tear | None) -> InTheMiddle:
        """Let the look-up read ``entry`` (PAs) as far as ``tear`` says, then CPU 0 store; None: all of it."""
        self._order = order = InTheMiddle(self.machine, entry, tear)
        return order

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return who goes on."""
        assert self._order is not None
        cpu = self._order.pick(runnable, current)
        if self.noted is not None:
            self.noted.steps(cpu)
        return cpu

    def next_pick(self) -> Pick | None:
        """Return a part that the look-up makes alone; None: ``pick`` decides."""
        if self.noted is not None:
            self.noted.look()
        return None if self._order is None else self._order.next_pick()


class _AtRandom:
    # What the look-up reads in parts, such as an LDP, it may make a part at a time: a store can come between.

    def __init__(self, machine: Machine, tears: bool, seed: int) -> None:
        self._machine = machine
        self._tears = tears
        self._picks = make_scheduler(f"random:{seed}")
        self._parts = Random(~seed)

    def pick(self, runnable: Sequence[int], current: int) -> int:
        return self._picks.pick(runnable, current)

    def next_pick(self) -> Pick | None:
        if not self._tears:
            return None
        machine = self._machine
        if not _looks_up(machine) or machine.actors[1].made:
            return None
        pc = machine.actors[1].pe.pc
        if not machine.memory.contains(pc, 4) or not may_tear(machine.memory.read(pc, 4)):
            return None
        number = self._parts.randrange(4)  # every second time the whole
        if number > 1 or not machine.parts.can_make(1, number):
            return None
        return Pick(f"{PART}{number}", 1)


class InTheMiddle:
    """The look-up goes on up to a place in its reads of an entry; then CPU 0 does all it does; then the rest.

    :ivar reads: of each instruction that has read of the entry before the store, the parts that do
    """

    def __init__(self, machine: Machine, entry: range, tear: Tear | None) -> None:
        self.reads: list[int] = []
        self._machine = machine
        self._entry = entry
        self._tear = tear
        self._stores = False  # from the next pick on
        self._first = 1  # who goes on, when both can

    def pick(self, runnable: Sequence[int], _current: int) -> int:
        """Return who goes on."""
        chosen = self._first if self._first in runnable else runnable[0]
        self._first = 0 if self._stores else 1
        return chosen

    def next_pick(self) -> Pick | None:
        """Return the part of the read that is made next alone; None: ``pick`` decides."""
        if self._stores or not _looks_up(self._machine):
            return None
        numbers = _parts_of(self._machine, self._entry)
        if not numbers:
            return None
        tear, read = self._tear, len(self.reads)
        if tear is None or read < tear.read:
            self.reads.append(len(numbers))
            return None
        made = len(self._machine.actors[1].made)
        if made < abs(tear.parts) < len(numbers):
            number = numbers[made] if tear.parts > 0 else numbers[-1 - made]
            if self._machine.parts.can_make(1, number):
                return Pick(f"{PART}{number}", 1)
        self._stores = True
        if abs(tear.parts) < len(numbers):
            self._first = 0  # the rest of the read comes after the store
        return None


class _AtPlaces:
    # The look-up goes on up to each place; there CPU 0 does one thing. In the end it does the rest.

    def __init__(self, machine: Machine, table: range, places: Sequence[Place]) -> None:
        self._machine = machine
        self._table = table
        self._places = [*places]
        self._reads = 0
        self._who = 1

    def pick(self, runnable: Sequence[int], _current: int) -> int:
        return self._who if self._who in runnable else runnable[0]

    def next_pick(self) -> Pick | None:
        self._who = 1
        if not _looks_up(self._machine):
            return None
        numbers = _parts_of(self._machine, self._table)
        made = len(self._machine.actors[1].made)
        if self._places and self._places[0][0] <= self._reads:
            read, parts = self._places[0]
            if read == self._reads and made < abs(parts) < len(numbers):
                number = numbers[made] if parts > 0 else numbers[-1 - made]
                if self._machine.parts.can_make(1, number):
                    return Pick(f"{PART}{number}", 1)
            if numbers or not parts:
                self._places.pop(0)
                self._who = 0
                return None
        self._reads += bool(numbers)
        return None


class Noted:
    """Where in the look-up's reads of a table each step of CPU 0 comes.

    :ivar places: of the steps so far
    """

    def __init__(self, machine: Machine, table: range) -> None:
        self.places: list[Place] = []
        self._machine = machine
        self._table = table
        self._reads = 0
        self._numbers: list[int] = []

    def look(self) -> None:
        """Look at what the look-up does next; where one CPU alone can go on, it does."""
        self._numbers = _parts_of(self._machine, self._table) if _looks_up(self._machine) else []
        runnable = self._machine.queue.runnable
        if len(runnable) == 1:
            self.steps(runnable[0])

    def steps(self, cpu: int) -> None:
        """Take note that this CPU makes its next step."""
        if cpu:
            self._reads += bool(self._numbers)
            return
        made = {each.number for each in self._machine.actors[1].made} & {*self._numbers}
        forwards = not made or self._numbers[0] in made
        self.places.append((self._reads, len(made) if forwards else -len(made)))


def _parts_of(machine: Machine, at: range) -> list[int]:
    # Numbers of the parts of the next instruction that read of these PAs.
    def reads(access: Access) -> bool:
        return not access.is_store and access.pa < at.stop and at.start < access.pa + access.size

    operation, parts = machine.parts.of(machine.actors[1])
    if parts:
        return [number for number, part in enumerate(parts) if reads(part)]
    at_once = isinstance(operation, MemoryAccess | LoadExclusive) and any(map(reads, operation.accesses))
    return [0] if at_once else []


def _looks_up(machine: Machine) -> bool:
    actor = machine.actors[1]
    return actor.task is None and actor.state is State.RUNNABLE


def may_tear(word: int) -> bool:
    """Tell whether a load (u32) is one of a pair, or of 16 bytes.

    What is not aligned faults: the MMU is off.
    """
    is_pair = word & 0x3A40_0000 == 0x2840_0000 or word & 0x3FE0_0000 == 0x0860_0000
    return is_pair or a64.is_quad_access(word)
