"""Data races of a kernel's own accesses: two of different CPUs to the same bytes, one a store, in no order.

Vector clocks over the rows of a free run (:meth:`emu.cpu.engine.FreeRunning.record`). Order comes of what the
kernel orders by: release and acquire, of exclusives and atomics too; a store behind a DMB or DSB that is seen
by a load before one; SGIs, CPU_ON and CPU_OFF.

MODEL: a load of what a release store has stored orders what depends on it, and all behind it, as if it were
an acquire (rcu_dereference()). An interrupt orders all that its CPU does from when it is asserted. A word
that any CPU accesses with an atomic, exclusive or ordered instruction is one that CPUs agree by: no race is
told of it. READ_ONCE() and WRITE_ONCE() are plain loads and stores in the code.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from emu.arch import a64
from emu.cpu.engine import ROW_CPU, ROW_SIZE
from emu.operation import Kind

_LOAD, _STORE, _BARRIER = int(Kind.LOAD), int(Kind.STORE), int(Kind.BARRIER)
_INTERRUPT, _START, _STOP = int(Kind.SEND_INTERRUPT), int(Kind.POWER_ON), int(Kind.POWER_OFF)
_GRANULE = 3  # bytes of a granule, as a shift
_LAST = (1 << _GRANULE) - 1
_Clock = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two accesses of a race: its CPU, its PC (VA), and whether it is a store."""

    cpu: int
    pc: int
    is_store: bool


@dataclass(slots=True)
class Race:
    """Two places of code that race; the first time that they did.

    :ivar pa: of the bytes
    :ivar times: how often
    """

    first: Side
    second: Side
    pa: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class _Order:
    # What an instruction is, beside a plain access.
    acquires: bool = False
    releases: bool = False
    is_marked: bool = False


@cache
def order_of(word: int) -> _Order:
    """Return what the instruction of a word (u32) orders, and whether it is more than a plain access."""
    if word & 0x3F00_0000 == 0x0800_0000:  # exclusives, LDAR and STLR, CAS
        is_cas = word & 0x20_0000 and word & 0x7C00 == 0x7C00
        if is_cas:
            return _Order(bool(word >> 22 & 1), bool(word >> 15 & 1), True)
        ordered, is_load = bool(word >> 15 & 1), bool(word >> 22 & 1)
        return _Order(ordered and is_load, ordered and not is_load, True)
    if a64.is_acquire_pc(word):
        is_load = bool(word & 0x00C0_0000) or word & 0x3F00_0000 == 0x3800_0000
        return _Order(is_load, not is_load, True)
    if word & 0x3B20_0C00 == 0x3820_0000:  # LDADD, SWP and their like
        return _Order(bool(word >> 23 & 1), bool(word >> 22 & 1), True)
    return _Order()


class _Granule:
    # What was done to some bytes last: by CPU (epoch, PC, mask of bytes); and the clock that a load gets.

    __slots__ = ("is_release", "loads", "released", "stores")

    def __init__(self) -> None:
        self.stores: dict[int, tuple[int, int, int]] = {}
        self.loads: dict[int, tuple[int, int, int]] = {}
        self.released: _Clock | None = None
        self.is_release = False


def races(rows: array[int], cpus: int, word_of: Callable[[int], int]) -> list[Race]:
    """Return the races among the rows of a run, in the order in which they were first seen.

    :param word_of: returns the instruction word at a VA of code, 0: not known
    """
    orders = {pc: order_of(word_of(pc)) for pc in set(rows[1::3])}
    shared, marked = _shared(rows, {pc for pc, order in orders.items() if order.is_marked})
    detector = _Detector(cpus, word_of, orders)
    held = detector.held
    for head, pc, pa in _in_threes(rows):
        kind, cpu = head & 0xFF, head >> ROW_CPU
        if kind == _BARRIER:
            detector.hold(cpu, pc, pa)
            continue
        if held[cpu]:
            detector.settle(cpu, pc)
        if kind not in (_LOAD, _STORE):
            detector.tell(kind, cpu, pa)
            continue
        size, low = head >> ROW_SIZE & 0xFF, pa & _LAST
        if low + size <= _LAST + 1:  # most of them
            granule = pa >> _GRANULE
            if granule in shared:
                mask = (1 << size) - 1 << low
                detector.access(cpu, pc, granule, mask, kind == _STORE, granule not in marked)
            continue
        for granule, mask in _granules(pa, size):
            if granule in shared:
                detector.access(cpu, pc, granule, mask, kind == _STORE, granule not in marked)
    return list(detector.found.values())


def _in_threes(rows: array[int]) -> Iterator[tuple[int, int, int]]:
    return zip(rows[0::3], rows[1::3], rows[2::3], strict=True)


def _granules(pa: int, size: int) -> tuple[tuple[int, int], ...]:
    # Number and mask of bytes of each granule of an access.
    mask = (1 << size) - 1 << (pa & (1 << _GRANULE) - 1)
    first = pa >> _GRANULE
    parts = (mask.bit_length() + 7) >> 3
    return tuple((first + at, part) for at in range(parts) if (part := mask >> 8 * at & 0xFF))


def _shared(rows: array[int], agreeing: set[int]) -> tuple[set[int], set[int]]:
    # Granules that several CPUs touch and one stores to; and those that CPUs agree by, at these PCs.
    by: dict[int, int] = {}
    stored: set[int] = set()
    marked: set[int] = set()
    for head, pc, pa in _in_threes(rows):
        kind = head & 0xFF
        if kind not in (_LOAD, _STORE):
            continue
        first, last = pa >> _GRANULE, pa + (head >> ROW_SIZE & 0xFF) - 1 >> _GRANULE
        cpu = 1 << (head >> ROW_CPU)
        for granule in (first,) if first == last else range(first, last + 1):
            by[granule] = by.get(granule, 0) | cpu
            if kind == _STORE:
                stored.add(granule)
        if pc in agreeing:
            marked.update(range(first, last + 1))
    return {granule for granule in stored if by[granule] & by[granule] - 1}, marked


class _Detector:
    def __init__(self, cpus: int, word_of: Callable[[int], int], orders: dict[int, _Order]) -> None:
        self._word_of, self._orders = word_of, orders  # words and orders of instructions, by PC
        self._clocks = [[int(cpu == other) for other in range(cpus)] for cpu in range(cpus)]
        self._fences: list[_Clock | None] = [None] * cpus  # at the last barrier that orders stores
        self._pending: list[_Clock | None] = [None] * cpus  # what a barrier that orders loads will add
        # Barriers of the block that a CPU is in, which are ahead: VA, and that of the block.
        self.held: list[list[tuple[int, int]]] = [[] for _ in range(cpus)]
        self._granules: dict[int, _Granule] = {}
        self.found: dict[tuple[int, int], Race] = {}

    # -- order ------------------------------------------------------------------------------------

    def hold(self, cpu: int, va: int, block: int) -> None:
        """``cpu`` begins a block with a barrier at ``va``."""
        held = self.held[cpu]
        if held and (held[-1][1] != block or va <= held[-1][0]):
            self.settle(cpu, 0)
        held.append((va, block))

    def settle(self, cpu: int, pc: int) -> None:
        """``cpu`` is at ``pc`` (0: outside of its block): barriers before that have been done."""
        held = self.held[cpu]
        while held and not held[0][1] <= pc < held[0][0]:
            self._do_barrier(cpu, a64.ordered_by(self._word_of(held.pop(0)[0])))

    def _do_barrier(self, cpu: int, ordered: int) -> None:
        if ordered & a64.LOADS:
            self._join(cpu, self._pending[cpu])
            self._pending[cpu] = None
        if ordered & a64.STORES:
            self._fences[cpu] = self._release(cpu)

    def tell(self, kind: int, cpu: int, other: int) -> None:
        """``cpu`` interrupts or starts ``other``, or goes off."""
        clock = self._release(cpu)
        for each in range(len(self._clocks)) if kind == _STOP else (other,):
            self._join(each, clock)

    def _release(self, cpu: int) -> _Clock:
        clock = tuple(self._clocks[cpu])
        self._clocks[cpu][cpu] += 1
        return clock

    def _join(self, cpu: int, clock: _Clock | None) -> None:
        if clock is not None:
            self._clocks[cpu] = list(map(max, self._clocks[cpu], clock))

    # -- accesses ---------------------------------------------------------------------------------

    def access(self, cpu: int, pc: int, number: int, mask: int, is_store: bool, is_data: bool) -> None:
        """``cpu`` accesses bytes of a granule, with a plain access where ``is_data``."""
        granule = self._granules.get(number)
        if granule is None:
            granule = self._granules[number] = _Granule()
        order = self._orders[pc]
        if not is_store:
            self._load(cpu, granule, order)
        if is_data:
            self._check(cpu, pc, number, granule.stores, mask, is_store, True)
            if is_store:
                self._check(cpu, pc, number, granule.loads, mask, is_store, False)
        (granule.stores if is_store else granule.loads)[cpu] = self._clocks[cpu][cpu], pc, mask
        if is_store:
            self._store(cpu, granule, order)

    def _load(self, cpu: int, granule: _Granule, order: _Order) -> None:
        released = granule.released
        if released is None:
            return
        if order.acquires or granule.is_release:
            self._join(cpu, released)
        else:
            before = self._pending[cpu]
            self._pending[cpu] = released if before is None else tuple(map(max, before, released))

    def _store(self, cpu: int, granule: _Granule, order: _Order) -> None:
        clock = self._release(cpu) if order.releases else self._fences[cpu]
        if order.is_marked and granule.released is not None and not _is_store_release(order):
            # A read-modify-write carries on what it has read.
            clock = granule.released if clock is None else tuple(map(max, granule.released, clock))
        granule.released, granule.is_release = clock, order.releases

    def _check(
        self,
        cpu: int,
        pc: int,
        number: int,
        others: dict[int, tuple[int, int, int]],
        mask: int,
        is_store: bool,
        others_store: bool,
    ) -> None:
        clock = self._clocks[cpu]
        for other, (epoch, other_pc, other_mask) in others.items():
            if other == cpu or epoch <= clock[other] or not mask & other_mask:
                continue
            key = other_pc, pc
            known = self.found.get(key)
            if known is not None:
                known.times += 1
                continue
            both = mask & other_mask
            pa = (number << _GRANULE) + (both & -both).bit_length() - 1
            self.found[key] = Race(Side(other, other_pc, others_store), Side(cpu, pc, is_store), pa)


def _is_store_release(order: _Order) -> bool:
    return order.releases and not order.acquires
