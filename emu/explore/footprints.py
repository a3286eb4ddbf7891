"""What actions read and write, as bits: two actions whose bits do not meet can be swapped.

A location is what is accessed as a whole: a word of memory, an event register, firmware. Whatever lies in a
line that the caches or an exclusive monitor have to do with is one location, so that anything about it meets.
Bits are made as locations come up; where a new one overlaps an old one the round is not the last.
"""

from __future__ import annotations

from collections.abc import Iterable

from emu.actor import State
from emu.explore.local_state import Access, Action, LocalState, Verb
from emu.explore.thread_stepper import ThreadStepper
from emu.models import caches

_EXCLUSIVES = (Verb.LOAD_EXCLUSIVE, Verb.STORE_EXCLUSIVE)
GRANULE = 64  # of exclusives, bytes (:mod:`emu.cpu`)


class Footprints:
    """The locations of one round. ``lines``: PAs of the lines whose state is followed, in order.

    :param early: polls may give up, and WFEs end, without need, but not any number of times
    """

    def __init__(self, stepper: ThreadStepper, granule: int, *, early: bool = False) -> None:
        self.cpus = len(stepper.start)
        self._early = early
        self._low = 2 + 2 * self.cpus  # bits before those of memory
        self.granule = granule
        self.lines: list[int] = []
        self.exclusive: set[int] = set()
        self._bits: dict[tuple[int, int], int] = {}  # (PA, size) to number
        self._over: list[int] = []  # by number: the bits of all that overlap
        self._regions: list[tuple[int, int]] = []
        self._stored: dict[int, int | None] = {}  # bit to the value that is stored there
        self._varied: set[int] = set()
        self._constant = 0  # bits of the locations that have one
        self.changed = False  # something new overlaps something known
        actions = [local.action for local in stepper.locals]
        for action in actions:
            if action.verb in _EXCLUSIVES:
                self.exclusive.update(access.pa & -GRANULE for access in action.accesses)
        if stepper.cached:
            self.lines = sorted(_mixed(actions, granule))
        self.line_index = {pa: index for index, pa in enumerate(self.lines)}
        for local in stepper.locals:
            self.prepare(local)
        self._futures(stepper)

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
        """The bits of all event registers."""
        return ((1 << self.cpus) - 1) << 2

    def interrupt(self, cpu: int) -> int:
        """The bit of the interrupt of ``cpu``."""
        return 4 << self.cpus + cpu

    def line(self, index: int) -> int:
        """The bit of a line whose state is followed."""
        return self._bit(self.lines[index], self.granule)

    def _bit(self, pa: int, size: int) -> int:
        number = self._bits.get((pa, size))
        if number is None:
            number = self._bits[pa, size] = len(self._regions)
            over = 1 << number
            for other, (first, length) in enumerate(self._regions):
                if first < pa + size and pa < first + length:
                    over |= 1 << other
                    self._over[other] |= 1 << number
                    self.changed = True
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

    def _of(self, access: Access) -> int:
        line = access.pa & -self.granule
        if line in self.line_index:
            return self._bit(line, self.granule)
        granule = access.pa & -GRANULE
        if granule in self.exclusive:
            return self._bit(granule, GRANULE)
        return self._bit(access.pa, access.size)

    # -- actions ----------------------------------------------------------------------------------

    def prepare(self, local: LocalState) -> None:
        """Fill in what the place's action reads and writes; what it may do later is as much, until known."""
        action, cpu = local.action, local.cpu
        # Who can still move keeps time from passing: whether a time-out takes from the budget depends on it.
        reads, writes = self.budget if local.state is State.RUNNABLE else 0, 0
        for access in action.accesses:
            bit = self._of(access)
            if access.is_store or action.verb in (Verb.UPDATE, Verb.LOAD_EXCLUSIVE):
                writes |= bit
                if access.pa & -GRANULE in self.exclusive:
                    writes |= self.events
            else:
                reads |= bit
        match action.verb:
            case Verb.WFE | Verb.SEVL:
                writes |= self.event(cpu)
            case Verb.SEV:
                writes |= self.events
            case Verb.SEND:
                (target,) = action.detail
                assert isinstance(target, int)
                writes |= self.interrupt(target)
            case Verb.WFI:
                writes |= self.interrupt(cpu)
            case Verb.CALL:
                writes |= self.firmware
            case Verb.POLL | Verb.DELAY:
                writes |= self.budget
        if local.state is State.WAITING:
            writes |= self.event(cpu) | self.budget
        self._note_values(action)
        action.reads, action.writes = reads, writes
        action.followed = any(access.pa & -self.granule in self.line_index for access in action.accesses)
        action.cells = _cells(action.accesses)
        self._reach(action)
        local.reads, local.writes = reads, writes

    def _reach(self, action: Action) -> None:
        # What the action's bits overlap. Stores of one and the same value can be swapped.
        action.reads_over, action.writes_over = self.over(action.reads), self.over(action.writes)
        action.clashes = self.over(action.writes & ~self._constant)

    def _note_values(self, action: Action) -> None:
        # Which locations are stored to, as a whole, with one value only; the others are told by `_constant`.
        for access in action.accesses:
            if not access.is_store:
                continue
            bit, line = self._of(access), access.pa & -self.granule
            simple = action.verb is Verb.ACCESS and line not in self.line_index
            simple = simple and access.pa & -GRANULE not in self.exclusive and not access.plain
            known = self._stored.setdefault(bit, access.value if simple else None)
            if known == access.value and simple and self.over(bit) == bit:
                if bit not in self._varied:
                    self._constant |= bit
            else:
                self._varied.add(bit)
                self.changed |= bool(self._constant & self.over(bit))
                self._constant &= ~self.over(bit)

    def refresh(self, locals: Iterable[LocalState]) -> None:
        """Take notice of places that have just come up."""
        for local in locals:
            self.prepare(local)

    def _futures(self, stepper: ThreadStepper) -> None:
        # What each place may read and write from there on: along its edges, until nothing changes.
        for local in stepper.locals:
            self._reach(local.action)
        changed = True
        while changed:
            changed = False
            for local in reversed(stepper.locals):
                reads, writes = local.reads, local.writes
                for edge in local.edges.values():
                    reads |= edge.local.reads
                    writes |= edge.local.writes
                if local.is_off:
                    for start in stepper.starts(local.cpu):
                        reads |= start.reads
                        writes |= start.writes
                if reads != local.reads or writes != local.writes:
                    local.reads, local.writes = reads, writes
                    changed = True
        self.changed = False


def _mixed(actions: Iterable[Action], granule: int) -> set[int]:
    # Lines that somebody stores to, accessed with caches on by one and past them by another, or invalidated.
    cacheable: set[int] = set()
    past: set[int] = set()
    stored: set[int] = set()
    for action in actions:
        for access in action.accesses:
            line = access.pa & -granule
            if action.verb is not Verb.MAINTAIN:
                (cacheable if access.cacheable else past).add(line)
                if access.is_store:
                    stored.add(line)
            elif caches.invalidates(action.detail[0]):
                past.add(line)
    return cacheable & past & stored


def _cells(accesses: Iterable[Access]) -> tuple[tuple[int, int, int, int, bool], ...]:
    # Each access as (PA >> 3, shift, mask, value, is a store); one over two cells as two, the lower first.
    cells = []
    for access in accesses:
        pa, left, value = access.pa, access.size, access.value
        while left:
            size = min(left, 8 - pa % 8)
            mask = (1 << 8 * size) - 1
            cells.append((pa >> 3, 8 * (pa % 8), mask, value & mask, access.is_store))
            pa, left, value = pa + size, left - size, value >> 8 * size
    return tuple(cells)
