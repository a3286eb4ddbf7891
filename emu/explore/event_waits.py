"""Loops that look at one word and sleep in WFE until it has another value: a pen, a firmware's spin loop.

A CPU in one comes back to where it was with every event, and nobody sees whether it has looked, slept, or not
run at all. What others can tell is when it leaves, which it can whenever the word lets it. So a search takes
it for blocked at its look, like a CPU that spins, and lets it fall asleep only when nobody else can run.

That leaves out CPUs that sleep although the word lets them go. So it is done only where there are none: each
actor that stores a value that ends the loop sends an event behind that store, and nothing on the way to the
event can keep it from doing so. An event register that only such loops look at makes no difference to others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from emu.cpu.engine import LINE_SHIFT
from emu.explore.local_state import NO_UPDATES, Edge, LocalState
from emu.explore.thread_stepper import WAKE, ThreadStepper
from emu.machine.actor import State
from emu.operation import (
    LOADS,
    Access,
    Barrier,
    CacheOp,
    Delay,
    FirmwareCall,
    GuestCall,
    Invisible,
    Kind,
    Load,
    MemoryAccess,
    Operation,
    Park,
    SendEvent,
    SendEventLocal,
    Store,
    StoreExclusive,
    WaitForEvent,
    WaitForInterrupt,
)

_ROUND = (Kind.LOAD, Kind.WFE, Kind.WAKE)  # what a trace has of a round
_MAY_WAIT = (WaitForEvent, WaitForInterrupt, Delay, FirmwareCall, GuestCall, Park, StoreExclusive)
_TRIES_MAX = 8  # rounds that make local states by trying, at one PC
_CHAIN_MAX = 8  # steps from a WFE to the look behind it
_Word = tuple[int, int]  # PA, bytes


class EventWaits:
    """The loops of one round that are taken for waits.

    :ivar staying: by the local state of a look the values with which its CPU stays in its loop
    :ivar untold: of these values those that may be stored without an event behind
    :ivar blind: the CPUs, as bits, whose event registers make no difference
    :param tries: by CPU and PC in how many rounds local states were made to find out; carried on
    :param unit_of: returns the PAs of the memory model's unit that holds a PA, if there is one
    :param remembered: words (PA, bytes) about which more is remembered than what they hold
    """

    def __init__(
        self,
        stepper: ThreadStepper,
        tries: dict[object, int],
        unit_of: Callable[[int], range | None],
        remembered: Collection[_Word],
    ) -> None:
        self._stepper, self._tries = stepper, tries
        self._made: dict[object, None] = {}
        self._unit_of, self._remembered = unit_of, remembered
        self.staying: dict[LocalState, frozenset[object]] = {}
        self.untold: dict[LocalState, frozenset[object]] = {}
        self.blind = 0
        self._before: dict[LocalState, list[LocalState]] = {}
        for local in stepper.locals:
            for edge in local.edges.values():
                self._before.setdefault(edge.local, []).append(local)
        if not self._is_plain():
            return
        for cpu in range(stepper.cpus):
            found = self._loops_of(cpu)
            if found is not None:
                self.blind |= 1 << cpu
                self.staying |= found
        for where in self._made:
            tries[where] = tries.get(where, 0) + 1

    def locals(self) -> Iterator[LocalState]:
        """Yield the local states of blind CPUs who do not sleep, and will not before all others do."""
        may_sleep = {
            look.cpu for look in self.staying if self._unit_of(look.action.accesses[0].pa) is not None
        }
        for local in self._stepper.locals:
            is_blind = self.blind >> local.cpu & 1 and local.cpu not in may_sleep
            if is_blind and local.state is not State.WAITING:
                yield local

    def stays(self, local: LocalState, value: object) -> bool:
        """Tell whether a CPU looks there and stays in its loop when it finds ``value``."""
        staying = self.staying.get(local)
        return staying is not None and value in staying

    def _is_plain(self) -> bool:
        # Whether no CPU can be switched off or on behind another's back, and the code stays as it is.
        code = self._stepper.machine.engine.code.lines
        for local in self._stepper.locals:
            if isinstance(local.action.operation, FirmwareCall):
                return False
            for access in local.action.accesses:
                last = access.pa + access.size - 1
                if access.is_store and not code.isdisjoint((access.pa >> LINE_SHIFT, last >> LINE_SHIFT)):
                    return False
        return True

    def _loops_of(self, cpu: int) -> dict[LocalState, frozenset[object]] | None:
        # The looks of a CPU and with which values each stays; None: its event register may matter elsewhere.
        own = [local for local in self._stepper.locals if local.cpu == cpu]
        if any(isinstance(local.action.operation, SendEventLocal) for local in own):
            return None
        found: dict[LocalState, frozenset[object]] = {}
        covered: set[LocalState] = set()
        for local in own:
            if not isinstance(local.action.operation, WaitForEvent) or local in covered:
                continue
            loop = _Loop(self._stepper, self._tries, self._made, self._before, local)
            if not loop.is_one() or not self._is_told(loop):
                return None
            found |= dict.fromkeys(loop.looks, frozenset(loop.staying))
            covered |= loop.sleeping
        if any(local.state is State.WAITING and local not in covered for local in own):
            return None
        return found

    def _is_told(self, loop: _Loop) -> bool:
        # Whether an event follows whatever ends the loop.
        if (loop.access.pa, loop.access.size) in self._remembered:
            return False
        unit = self._unit_of(loop.access.pa)
        if unit is not None and not self._shows(loop, unit):
            return False
        untold: set[object] = set()
        for local in self._stepper.locals:
            stores = [access for access in local.action.accesses if access.is_store]
            met = [access for access in stores if _overlap(access, loop.access)]
            if local.cpu == loop.cpu or not met or self._sends_event(local, unit):
                continue
            if not all(_has_value(local, access, loop) for access in met):
                return False
            untold.update(access.value for access in met)
        self.untold.update(dict.fromkeys(loop.looks, frozenset(untold)))
        return True

    def _shows(self, loop: _Loop, unit: range) -> bool:
        # Whether the word, which is looked at past the memory model's unit, changes only with what is stored
        # in the unit and shown by maintenance.
        if loop.access.cacheable or any(pa in unit for pa in self._stepper.machine.memory.behind):
            return False
        for local in self._stepper.locals:
            operation = local.action.operation
            if isinstance(operation, CacheOp) and operation.pa in unit:
                word = operation.word
                if self._stepper.model.maintains(word) and not self._stepper.model.cleans(word):
                    return False
            for access in local.action.accesses:
                if access.is_store and access.pa < unit.stop and unit.start < access.pa + access.size:
                    own = local.cpu == loop.cpu and _overlap(access, loop.access)
                    if own or not access.cacheable:
                        return False
        return True

    def _sends_event(self, local: LocalState, unit: range | None) -> bool:
        # Whether its CPU sends an event behind its next step, whatever others do; of a unit when it has shown
        # what it has stored: 0 it has not, 1 it has begun to, 2 it has.
        first = 0 if unit is not None else 2
        work = [(edge.local, first) for edge in local.edges.values()]
        seen = {(local, first)}
        if not work:
            return False
        while work:
            after, shown = work.pop()
            operation = after.action.operation
            if isinstance(operation, SendEvent) and after.state is State.RUNNABLE and shown > 1:
                continue
            may_wait = after.action.waits or isinstance(operation, _MAY_WAIT)
            if (after, shown) in seen or after.state is not State.RUNNABLE or may_wait or not after.edges:
                return False
            seen.add((after, shown))
            if unit is not None:
                shown = self._shown_after(operation, unit, shown)
            work += [(edge.local, shown) for edge in after.edges.values()]
        return True

    def _shown_after(self, operation: Operation, unit: range, shown: int) -> int:
        model = self._stepper.model
        match operation:
            case CacheOp(word, pa) if not shown and pa in unit and model.cleans(word):
                return 1
            case Barrier(word) if shown == 1 and model.completes(word):
                return 2
        return shown


class _Loop:
    # One loop of a CPU, from one of its WFEs on: the looks that lead there, and all that they lead to.

    def __init__(
        self,
        stepper: ThreadStepper,
        tries: dict[object, int],
        made: dict[object, None],
        before: dict[LocalState, list[LocalState]],
        sleeper: LocalState,
    ) -> None:
        self._stepper, self._tries, self._made = stepper, tries, made
        self._before = before
        self.cpu = sleeper.cpu
        self.looks: list[LocalState] = []
        self.sleeping: set[LocalState] = set()  # its WFEs, and what comes between these and the look
        self.staying: set[object] = set()
        self._valid = True
        self.access = Access(0, 0, False)
        work = [sleeper]
        while work and self._valid:
            self._add(work.pop(), work)

    def is_one(self) -> bool:
        """Whether it is such a loop: every look gives the same, wherever its CPU comes from."""
        if not self._valid or not self.looks:
            return False
        if any(local in self.sleeping for local in self._stepper.start):
            return False
        inside = {*self.looks, *self.sleeping}
        if any(other not in inside for local in self.sleeping for other in self._before.get(local, ())):
            return False
        values = dict.fromkeys(value for look in self.looks for value in look.edges)
        for value in values:
            targets = {look.number: self._edge(look, value) for look in self.looks}
            edges = list(targets.values())
            first = edges[0]
            if first is None or any(edge is None or edge.local is not first.local for edge in edges):
                return False
            if first.local in self.sleeping:
                self.staying.add(value)
                if not all(edge is not None and self._is_silent(edge) for edge in edges):
                    return False
        return bool(self.staying)

    def _add(self, sleeper: LocalState, work: list[LocalState]) -> None:
        # A WFE of the loop: what leads to it, and where it leads.
        if sleeper in self.sleeping:
            return
        operation = sleeper.action.operation
        if not isinstance(operation, WaitForEvent) or operation.traps or not _is_quiet(sleeper):
            self._valid = False
            return
        self.sleeping.add(sleeper)
        looks = [*self._before.get(sleeper, ()), *self._behind(sleeper)]
        for look in looks:
            if look not in self.looks:
                self._valid = self._valid and self._is_look(look)
                self.looks.append(look)
        for look in looks:
            for edge in look.edges.values():
                if isinstance(edge.local.action.operation, WaitForEvent) and edge.local not in work:
                    work.append(edge.local)

    def _is_look(self, local: LocalState) -> bool:
        # Whether it is a look of this loop: the first one says what all are.
        action = local.action
        if not isinstance(action.operation, Load | MemoryAccess) or not action.only_looks:
            return False
        if len(action.accesses) != 1 or action.apart or action.is_plain or not _is_quiet(local):
            return False
        if local.updates is not NO_UPDATES or not isinstance(action.where, int | str):
            return False
        if not self.access.size:
            self.access = action.accesses[0]
        first = self.looks[0] if self.looks else local
        return action.accesses == first.action.accesses and action.where == first.action.where

    def _behind(self, sleeper: LocalState) -> Iterator[LocalState]:
        # Where the CPU comes to when it has an event, and when it is woken.
        asleep = self._edge(sleeper, False)
        awake = self._edge(sleeper, True)
        if asleep is None or asleep.local.state is not State.WAITING or not _is_quiet(asleep.local):
            self._valid = False
            return
        self.sleeping.add(asleep.local)
        for edge in (awake, self._edge(asleep.local, WAKE)):
            for _ in range(_CHAIN_MAX):
                if edge is None or not self._is_silent(edge):
                    self._valid = False
                    return
                local = edge.local
                if not isinstance(local.action.operation, Invisible) or local.state is not State.RUNNABLE:
                    break
                if not _is_quiet(local):
                    self._valid = False
                    return
                self.sleeping.add(local)
                edge = self._edge(local, None)
            yield local

    def _is_silent(self, edge: Edge) -> bool:
        # Whether a trace has nothing of the step but that it was taken.
        rows = self._stepper.machine.trace.rows_of(edge.records)
        return not edge.defers and not edge.reads_time and all(row[0] in _ROUND for row in rows)

    def _edge(self, local: LocalState, observed: object) -> Edge | None:
        # What an observation leads to, run on the machine the first time: nothing but the word decides it.
        found = local.edges.get(observed)
        if found is not None:
            return found
        access = local.action.accesses[0] if local.action.accesses else None
        where, count = (local.cpu, local.action.where), len(self._stepper.locals)
        if (access and local.history) or self._tries.get(where, 0) >= _TRIES_MAX:
            return None  # a loop that counts, or a task that keeps its past, never comes back to where it was
        edge = self._stepper.edge(local, observed, lambda _: self._memory_with(access, observed))
        if len(self._stepper.locals) > count:
            self._made[where] = None
        rows = self._stepper.machine.trace.rows_of(edge.records)
        loaded = [(pa, size, value) for kind, size, _, _, pa, value in rows if kind in LOADS]
        if access is not None and loaded != [(access.pa, access.size, observed)]:
            del local.edges[observed]
            return None
        return edge

    def _memory_with(self, access: Access | None, value: object) -> dict[int, int]:
        if access is None or not isinstance(value, int):
            return {}
        first = access.pa & -8
        data = bytearray(self._stepper.machine.memory.read_bytes(first, 16))
        at = access.pa - first
        data[at : at + access.size] = value.to_bytes(access.size, "little")
        return {first + word: int.from_bytes(data[word : word + 8], "little") for word in (0, 8)}


def _is_quiet(local: LocalState) -> bool:
    return local.armed is None and not local.action.seen and not local.made


def _has_value(local: LocalState, access: Access, loop: _Loop) -> bool:
    # Whether a store is of a whole value with which the loop goes on.
    operation = local.action.operation
    known = isinstance(operation, Store | MemoryAccess) and not local.action.updates
    whole = (access.pa, access.size) == (loop.access.pa, loop.access.size)
    return known and whole and access.value in loop.staying


def _overlap(one: Access, other: Access) -> bool:
    return one.pa < other.pa + other.size and other.pa < one.pa + one.size
