"""Footprints: what actions read and write, as bits. Two actions whose footprints do not meet commute.

A location is what is accessed as a whole: a word of memory, an event register, firmware. Whatever lies in a
unit of the memory model, or in a granule of an exclusive monitor, is one location, so that anything about it
meets. Bits are made as locations come up; where a new one overlaps an old one the round is not the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emu.explore.cells import CELL, parts_of
from emu.explore.event_waits import EventWaits
from emu.explore.history import UpdateHistory
from emu.explore.local_state import NO_UPDATES, Action, LocalState
from emu.explore.stored_values import StoredValues
from emu.explore.thread_stepper import ThreadStepper
from emu.explore.unit_words import UnitWords
from emu.machine.actor import State
from emu.operation import (
    Access,
    Barrier,
    CacheOp,
    Delay,
    FirmwareCall,
    GuestCall,
    Invisible,
    Load,
    LoadExclusive,
    MemoryAccess,
    Park,
    Poll,
    SendEvent,
    SendEventLocal,
    SendInterrupt,
    Store,
    StoreExclusive,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.semantics.monitors import GRANULE, granule_of

_EXCLUSIVES = (LoadExclusive, StoreExclusive)
_PLAIN = (Load, Store, MemoryAccess)
# What changes nothing that CPUs share, unless the memory model has to do with it.
_SILENT = (Invisible, Barrier, CacheOp, GuestCall, Park)
_BUCKET = 64  # bytes: regions are looked for in as many


class Footprints:
    """The locations of one round. ``units``: PAs of the memory model's units, in order.

    :param always: PAs of units whether they seem to matter or not
    :param all_parts: make each part of an instruction alone, whether it matters or not
    :param early: polls may give up, and WFEs end, without need, but not any number of times
    """

    def __init__(
        self,
        stepper: ThreadStepper,
        granule: int,
        *,
        early: bool = False,
        always: Iterable[int] = (),
        all_parts: bool = False,
    ) -> None:
        self.cpus = len(stepper.start)
        self._early = early
        self._all_parts = all_parts
        self._low = 3 + 2 * self.cpus  # bits before those of memory
        self._watch = stepper.watch
        self.granule = granule
        self.exclusive: set[int] = set()  # PAs of granules that a monitor is armed for
        self._completes = stepper.model.completes
        self._maintains = stepper.model.maintains
        self._bits: dict[tuple[int, int], int] = {}  # (PA, size) to number
        self._over: list[int] = []  # by number: the bits of all that overlap
        self._regions: list[tuple[int, int]] = []
        self._near: dict[int, list[int]] = {}  # numbers of the regions in each bucket
        self.changed = False  # something new overlaps something known
        # The CPUs, as bits, that never wait for an event, as far as is known.
        listen = {local.cpu for local in stepper.locals if _listens(local)}
        self.deaf = sum(1 << cpu for cpu in range(self.cpus) if cpu not in listen)
        actions = [local.action for local in stepper.locals]
        for action in actions:
            if isinstance(action.operation, _EXCLUSIVES):
                self.exclusive.update(granule_of(access.pa) for access in action.accesses)
        found = stepper.model.units((action.operation for action in actions), granule)
        older = {pa & -granule for pa in stepper.machine.memory.behind}
        past = {
            access.pa & -granule for action in actions for access in action.accesses if not access.cacheable
        }
        self.units = sorted({*found, *always, *(older & past)})
        self.unit_index = {pa: index for index, pa in enumerate(self.units)}
        self._unit_bits = [self._bit(pa, self.granule) for pa in self.units]
        # Beside the bit of a unit: one that all meet but stores alike, and one for these.
        self._other_bits = [self._bit(-2 - 2 * index, 1) for index in range(len(self.units))]
        self._alike_bits = [self._bit(-1 - 2 * index, 1) for index in range(len(self.units))]
        self._alike = sum(self._alike_bits)
        watched = self._watch.words() if self._watch is not None else ()
        # What a property sees changes with moves of units.
        self.watches_units = any(self.index_of(pa) is not None for word in watched for pa in word)
        self._delayed = self._find_delayed(stepper.locals) if self.units else {}
        self.history = UpdateHistory(stepper.locals, stepper.machine.trace.flow)
        self._words = UnitWords(
            stepper.locals, self.units, granule, stepper.machine.memory.behind, self.history.words
        )
        values = -2 * len(self.units)
        self._values = StoredValues(
            stepper.locals, self._is_word, lambda number: self._bit(values - 1 - number, 1)
        )
        for local in stepper.locals:
            self.prepare(local)
        self._futures(stepper)
        self.waits: EventWaits | None = None

    def find_waits(self, stepper: ThreadStepper, tries: dict[object, int]) -> None:
        """Take loops that wait for events for waits: their event registers meet only those who sleep."""
        count = len(stepper.locals)
        self.waits = EventWaits(stepper, tries, self._unit_at, self.history.words)
        self.refresh(stepper.locals[count:])
        for local in self.waits.locals():
            local.reads &= ~self.event(local.cpu)
            local.writes &= ~self.event(local.cpu)

    def _unit_at(self, pa: int) -> range | None:
        first = pa & -self.granule
        return range(first, first + self.granule) if first in self.unit_index else None

    # -- bits -------------------------------------------------------------------------------------

    @property
    def firmware(self) -> int:
        """The bit of firmware's state, which says who is on."""
        return 1

    @property
    def budget(self) -> int:
        """The bit of what is left for moves without need: one takes it from another."""
        return 2 if self._early else 0

    def event(self, cpu: int) -> int:
        """The bit of the event register of ``cpu``."""
        return 4 << cpu

    @property
    def events(self) -> int:
        """The bits of all event registers that a CPU waits for."""
        return ((1 << self.cpus) - 1 & ~self.deaf) << 2

    def interrupt(self, cpu: int) -> int:
        """The bit of the interrupt of ``cpu``."""
        return 4 << self.cpus + cpu

    @property
    def properties(self) -> int:
        """The bit of what properties see: the orders of all that they see are told apart."""
        return 4 << 2 * self.cpus

    def power(self, cpu: int) -> int:
        """The bits of what a CPU that is switched on or off loses: its event register, its interrupt."""
        return self.firmware | self.event(cpu) | self.interrupt(cpu)

    def unit(self, index: int) -> int:
        """The bit of a unit of the memory model, which loads of it read."""
        return self._unit_bits[index]

    def all_of_unit(self, index: int) -> int:
        """The bits that whatever changes a unit writes."""
        return self._unit_bits[index] | self._other_bits[index] | self._alike_bits[index]

    def index_of(self, pa: int) -> int | None:
        """Return the number of the unit that holds ``pa``, or None."""
        return self.unit_index.get(pa & -self.granule)

    def _bit(self, pa: int, size: int) -> int:
        number = self._bits.get((pa, size))
        if number is None:
            number = self._bits[pa, size] = len(self._regions)
            over = 1 << number
            for bucket in range(pa // _BUCKET, (pa + size - 1) // _BUCKET + 1):
                near = self._near.setdefault(bucket, [])
                for other in near:
                    first, length = self._regions[other]
                    if first < pa + size and pa < first + length:
                        over |= 1 << other
                        self._over[other] |= 1 << number
                        self.changed = True
                near.append(number)
            self._regions.append((pa, size))
            self._over.append(over)
        return 1 << number + self._low

    def over(self, bits: int) -> int:
        """Return the bits of all locations that overlap these."""
        low = self._low
        found, rest = bits, bits >> low
        while rest:
            number = (rest & -rest).bit_length() - 1
            found |= self._over[number] << low
            rest &= rest - 1
        return found

    def _of(self, pa: int, size: int) -> int:
        index = self.index_of(pa)
        if index is not None:
            return self.all_of_unit(index)
        if granule_of(pa) in self.exclusive:
            return self._bit(granule_of(pa), GRANULE)
        return self._bit(pa, size)

    def completes(self, local: LocalState) -> bool:
        """Tell whether the action is a barrier that ends maintenance that is delayed."""
        operation = local.action.operation
        return isinstance(operation, Barrier) and self._completes(operation.word)

    def _find_delayed(self, locals: Iterable[LocalState]) -> dict[LocalState, int]:
        # By local state the bits of the units that its actor may have delayed maintenance of.
        found: dict[LocalState, int] = {}
        work: list[tuple[LocalState, int]] = []
        for local in locals:
            match local.action.operation:
                case CacheOp(word, pa) if self._maintains(word) and self.index_of(pa) is not None:
                    work += [(edge.local, self._of(pa, 1)) for edge in local.edges.values()]
        while work:
            local, bits = work.pop()
            new = bits & ~found.get(local, 0)
            if new:
                found[local] = found.get(local, 0) | new
                if not self.completes(local):
                    work += [(edge.local, new) for edge in local.edges.values()]
        return found

    # -- actions ----------------------------------------------------------------------------------

    def prepare(self, local: LocalState) -> None:
        """Fill in the footprint of a local state's action; its future is as much, until more is known."""
        self.changed |= bool(self.deaf >> local.cpu & 1) and _listens(local)
        for _, part in local.action.apart:
            self._prepare(local, part)
        self._prepare(local, local.action)
        local.reads, local.writes = local.action.reads, local.action.writes
        local.updates = self.history.of.get(local, NO_UPDATES)

    def _prepare(self, local: LocalState, action: Action) -> None:
        # Who can still move keeps time from passing: whether a time-out takes from the budget depends on it.
        reads, writes = self.budget if local.state is State.RUNNABLE else 0, 0
        arms = isinstance(action.operation, LoadExclusive)
        meets_monitors = False
        for access in action.accesses:
            bit = self._of(access.pa, access.size)
            if (index := self.index_of(access.pa)) is not None and not self._is_exclusive(access):
                if self._words.is_idle(access) and not self._delayed.get(local, 0) & bit:
                    continue
                if self._words.is_alike(access) and not self._delayed.get(local, 0) & bit:
                    reads |= self._other_bits[index]
                    writes |= self._alike_bits[index]
                    continue
                if not access.is_store:
                    bit &= ~self._other_bits[index]
            if access.is_store or (arms and index is not None):
                writes |= bit
                if granule_of(access.pa) in self.exclusive:
                    writes |= self.events
                    meets_monitors = True
            else:
                meets_monitors |= arms
                reads |= bit
                writes |= bit & self._delayed.get(local, 0)  # maintenance of its own comes first
        if local.armed is not None and not arms and self._disarms(local):
            reads |= self._of(granule_of(local.armed), GRANULE)  # a store there is an event no longer
            meets_monitors = True
        signal_reads, signal_writes = self._of_signals(local)
        reads, writes = reads | signal_reads, writes | signal_writes
        if self._watch is not None and self._watch.sees(local):
            action.seen = True
            writes |= self.properties
        action.reads, action.writes = reads, writes | self._values.note(action, self._alone)
        action.followed = self._is_followed(action)
        action.cells = parts_of(action.accesses)
        plain = isinstance(action.operation, _PLAIN) and not meets_monitors and not action.updates
        whole = all(access.pa % CELL + access.size <= CELL for access in action.accesses)
        silent = isinstance(action.operation, _SILENT) and not meets_monitors
        action.is_simple = not action.followed and (silent or (plain and whole))
        self._reach(action)

    def parts(self, locals: Sequence[LocalState], cpu: int, action: Action) -> list[int]:
        """Return the parts of an action of ``cpu`` that matter alone: others may meet two or more."""
        meeting = [number for number, part in action.apart if self._all_parts or _may_meet(locals, cpu, part)]
        return meeting if len(meeting) > 1 else []

    def _is_exclusive(self, access: Access) -> bool:
        return granule_of(access.pa) in self.exclusive

    @staticmethod
    def _disarms(local: LocalState) -> bool:
        # Whether the step is known to clear the actor's own monitor: CLREX, ERET, STXR, an exception.
        return any(edge.local.armed is None for edge in local.edges.values())

    def _of_signals(self, local: LocalState) -> tuple[int, int]:
        # What the action reads and writes besides memory.
        cpu = local.cpu
        reads, writes = 0, self.event(cpu) | self.budget if local.state is State.WAITING else 0
        match local.action.operation:
            case WaitForEvent() | SendEventLocal():
                writes |= self.event(cpu)
            case SendEvent():  # of the CPUs that are on
                reads |= self.firmware
                writes |= self.events
            case SendInterrupt(target):  # lost when it is off
                reads |= self.firmware
                writes |= self.interrupt(target)
            case WaitForInterrupt():
                writes |= self.interrupt(cpu)
            case FirmwareCall():
                writes |= self.firmware
                for observation in local.edges:
                    assert isinstance(observation, tuple), "X0, and what firmware does at once"
                    for effect in observation[1]:
                        writes |= self.power(effect.cpu)
            case Poll() | Delay():
                writes |= self.budget
                if self._early:  # what is delayed takes effect
                    for index in range(len(self.units)):
                        writes |= self.all_of_unit(index)
            case CacheOp(word, pa) if self._maintains(word) and self.index_of(pa) is not None:
                writes |= self._of(pa, 1)
            case Barrier() if self.completes(local):
                writes |= self._delayed.get(local, 0)
        return reads, writes

    def _is_followed(self, action: Action) -> bool:
        match action.operation:
            case CacheOp(word, pa):
                return self._maintains(word) and self.index_of(pa) is not None
            case Barrier(word):
                return self._completes(word) and bool(self.units)
        return any(self.index_of(access.pa) is not None for access in action.accesses)

    def _reach(self, action: Action) -> None:
        # What the action's bits overlap. Stores of one and the same value can be swapped.
        action.reads_over, action.writes_over = self.over(action.reads), self.over(action.writes)
        action.clashes = self.over(action.writes & ~(self._alike | action.swapped)) | action.differs

    def _alone(self, access: Access) -> int:
        # The bit of a location that nothing else overlaps; 0: something does.
        bit = self._of(access.pa, access.size)
        return bit if self.over(bit) == bit else 0

    def _is_word(self, access: Access) -> bool:
        # Whether the access has a location of its own, about which nothing is remembered.
        return (
            self.index_of(access.pa) is None
            and granule_of(access.pa) not in self.exclusive
            and (access.pa, access.size) not in self.history.words
        )

    def refresh(self, locals: Iterable[LocalState]) -> None:
        """Take notice of local states that have just come up."""
        for local in locals:
            self.prepare(local)

    def _futures(self, stepper: ThreadStepper) -> None:
        # What each actor may read and write from a local state on: along its edges, until nothing changes.
        for local in stepper.locals:
            self._reach(local.action)
            for _, part in local.action.apart:
                self._reach(part)
            local.is_open = local.state is State.RUNNABLE and not local.edges
        changed = True
        while changed:
            changed = False
            for local in reversed(stepper.locals):
                reads, writes, is_open = local.reads, local.writes, local.is_open
                for edge in local.edges.values():
                    reads |= edge.local.reads
                    writes |= edge.local.writes
                    is_open = is_open or edge.local.is_open
                if local.is_off:
                    for start in stepper.starts(local.cpu):
                        reads |= start.reads
                        writes |= start.writes
                        is_open = is_open or start.is_open
                if (reads, writes, is_open) != (local.reads, local.writes, local.is_open):
                    local.reads, local.writes, local.is_open = reads, writes, is_open
                    changed = True
        self.changed = False


def _listens(local: LocalState) -> bool:
    return local.state is State.WAITING or isinstance(local.action.operation, WaitForEvent)


def _may_meet(locals: Sequence[LocalState], cpu: int, action: Action) -> bool:
    # Whether anything that is not of this actor may meet the action, now or later.
    if action.followed or action.seen:
        return True
    reads, writes = action.reads_over | action.clashes, action.writes_over
    return any(writes & other.reads or reads & other.writes for other in locals if other.cpu != cpu)
