"""Data races of a kernel's own accesses: two of different CPUs to the same bytes, one a store, in no order.

Vector clocks over the records of a run. Order comes of what the kernel orders by: release and acquire, of
exclusives and atomics too; a store behind a DMB or DSB that is seen by a load before one; SGIs, CPU_ON and
CPU_OFF.

MODEL: a load of what a release store has stored orders what depends on it, and all behind it, as if it were
an acquire (rcu_dereference()). An interrupt orders all that its CPU does from when it is asserted. A word
that any CPU accesses with an atomic, exclusive or ordered instruction is one that CPUs agree by: no race is
told of it, nor of a store of the value that is there (as KCSAN_REPORT_VALUE_CHANGE_ONLY has it). READ_ONCE()
and WRITE_ONCE() are plain loads and stores in the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from emu.arch import a64, psci
from emu.operation import LOADS, STORES, Kind
from emu.trace import Row

_LOADS, _STORES = frozenset(map(int, LOADS)), frozenset(map(int, STORES))
_ACCESSES = _LOADS | _STORES
_CALL, _BARRIER, _INTERRUPT, _STOP = map(int, (Kind.CALL, Kind.BARRIER, Kind.SEND_INTERRUPT, Kind.POWER_OFF))
_STARTS = (psci.Function.CPU_ON32, psci.Function.CPU_ON64)
_GRANULE = 3  # bytes of a granule, as a shift
_LAST = (1 << _GRANULE) - 1
_ALL = 2**64 - 1
_Clock = tuple[int, ...]
_Numbered = tuple[int, Row]  # a record and its number


@dataclass(slots=True)
class Race:
    """Two places of code that race; the first time that they did.

    :ivar first: the access that came first
    :ivar records: the numbers of both records
    :ivar pa: the first byte that both access
    :ivar times: how often
    """

    first: Row
    second: Row
    records: tuple[int, int]
    pa: int
    times: int = 1


def is_store(access: Row) -> bool:
    """Tell whether an access is a store."""
    return access[0] in _STORES


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


class _Orders(dict[int, _Order]):
    # By the VA of an instruction.

    def __init__(self, word_of: Callable[[int], int]) -> None:
        self._word_of = word_of

    def __missing__(self, pc: int) -> _Order:
        order = self[pc] = order_of(self._word_of(pc))
        return order


class _Granule:
    # What was done to some bytes last: by CPU (epoch, mask of bytes, record, whether it is a store that
    # leaves the value as it was); the clock that a load gets; and the value, of those bytes that are known.

    __slots__ = ("is_release", "known", "loads", "released", "stores", "value")

    def __init__(self) -> None:
        self.stores: dict[int, tuple[int, int, _Numbered, bool]] = {}
        self.loads: dict[int, tuple[int, int, _Numbered, bool]] = {}
        self.value = self.known = 0  # of `known` each bit of a byte is set
        self.released: _Clock | None = None
        self.is_release = False

    def take(self, access: Row, number: int) -> bool:
        """Take the value of an access to granule ``number``; tell whether it is what was there, as known."""
        _, size, _, _, pa, value = access
        shift = 8 * (pa - (number << _GRANULE))
        bits = (1 << 8 * size) - 1
        bits, value = (bits << shift, value << shift) if shift >= 0 else (bits >> -shift, value >> -shift)
        bits &= _ALL
        same = not (self.value ^ value | ~self.known) & bits
        self.value, self.known = self.value & ~bits | value & bits, self.known | bits
        return same


def races(
    rows: Callable[[], Iterable[Row]], hwids: Sequence[int], word_of: Callable[[int], int]
) -> list[Race]:
    """Return the races among the records of a run, in the order in which they were first seen.

    :param rows: returns the records, more than once
    :param hwids: of the CPUs by number, as CPU_ON takes them
    :param word_of: returns the instruction word at a VA of code, 0: not known
    """
    orders = _Orders(word_of)
    shared, marked = _shared(rows(), orders)
    cpu_of = {hwid: cpu for cpu, hwid in enumerate(hwids)}
    detector = _Detector(len(hwids), orders)
    for number, row in enumerate(rows()):
        kind, size, cpu, _pc, pa, value = row
        if kind in _ACCESSES:
            low = pa & _LAST
            if low + size <= _LAST + 1:  # most of them
                granule = pa >> _GRANULE
                if granule in shared:
                    detector.access((number, row), granule, (1 << size) - 1 << low, granule not in marked)
                continue
            for granule, mask in _granules(pa, size):
                if granule in shared:
                    detector.access((number, row), granule, mask, granule not in marked)
        elif kind == _BARRIER:
            detector.barrier(cpu, a64.ordered_by(value))
        elif kind == _INTERRUPT:
            detector.tell(cpu, (value,))
        elif kind == _CALL and value & 0xFFFF_FFFF in _STARTS and pa in cpu_of:
            detector.tell(cpu, (cpu_of[pa],))
        elif kind == _STOP:
            detector.tell(cpu, range(len(hwids)))
    return list(detector.found.values())


def _granules(pa: int, size: int) -> tuple[tuple[int, int], ...]:
    # Number and mask of bytes of each granule of an access.
    mask = (1 << size) - 1 << (pa & (1 << _GRANULE) - 1)
    first = pa >> _GRANULE
    parts = (mask.bit_length() + 7) >> 3
    return tuple((first + at, part) for at in range(parts) if (part := mask >> 8 * at & 0xFF))


def _shared(rows: Iterable[Row], orders: _Orders) -> tuple[set[int], set[int]]:
    # Granules that several CPUs touch and one stores to; and those that CPUs agree by.
    by: dict[int, int] = {}
    stored: set[int] = set()
    marked: set[int] = set()
    for kind, size, cpu, pc, pa, _value in rows:
        if kind not in _ACCESSES:
            continue
        first, last = pa >> _GRANULE, pa + size - 1 >> _GRANULE
        bit = 1 << cpu
        for granule in (first,) if first == last else range(first, last + 1):
            by[granule] = by.get(granule, 0) | bit
            if kind in _STORES:
                stored.add(granule)
        if orders[pc].is_marked:
            marked.update(range(first, last + 1))
    return {granule for granule in stored if by[granule] & by[granule] - 1}, marked


class _Detector:
    def __init__(self, cpus: int, orders: _Orders) -> None:
        self._orders = orders
        self._clocks = [[int(cpu == other) for other in range(cpus)] for cpu in range(cpus)]
        self._fences: list[_Clock | None] = [None] * cpus  # at the last barrier that orders stores
        self._pending: list[_Clock | None] = [None] * cpus  # what a barrier that orders loads will add
        self._granules: dict[int, _Granule] = {}
        self.found: dict[tuple[int, int], Race] = {}

    # -- order ------------------------------------------------------------------------------------

    def barrier(self, cpu: int, ordered: int) -> None:
        """``cpu`` orders its loads, stores or both (:func:`emu.arch.a64.ordered_by`)."""
        if ordered & a64.LOADS:
            self._join(cpu, self._pending[cpu])
            self._pending[cpu] = None
        if ordered & a64.STORES:
            self._fences[cpu] = self._release(cpu)

    def tell(self, cpu: int, others: Iterable[int]) -> None:
        """``cpu`` interrupts or starts others, or goes off."""
        clock = self._release(cpu)
        for other in others:
            self._join(other, clock)

    def _release(self, cpu: int) -> _Clock:
        clock = tuple(self._clocks[cpu])
        self._clocks[cpu][cpu] += 1
        return clock

    def _join(self, cpu: int, clock: _Clock | None) -> None:
        if clock is not None:
            self._clocks[cpu] = list(map(max, self._clocks[cpu], clock))

    # -- accesses ---------------------------------------------------------------------------------

    def access(self, record: _Numbered, number: int, mask: int, is_data: bool) -> None:
        """A CPU accesses bytes of a granule, with a plain access where ``is_data``."""
        kind, _, cpu, pc, _, _ = record[1]
        granule = self._granules.get(number)
        if granule is None:
            granule = self._granules[number] = _Granule()
        order, stores = self._orders[pc], kind in _STORES
        if not stores:
            self._load(cpu, granule, order)
        leaves = granule.take(record[1], number) and stores
        if is_data and not leaves:
            self._check(record, number, granule.stores, mask)
            if stores:
                self._check(record, number, granule.loads, mask)
        (granule.stores if stores else granule.loads)[cpu] = self._clocks[cpu][cpu], mask, record, leaves
        if stores:
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
        self, record: _Numbered, number: int, others: dict[int, tuple[int, int, _Numbered, bool]], mask: int
    ) -> None:
        kind, _, cpu, pc, _, _ = record[1]
        clock = self._clocks[cpu]
        for other, (epoch, other_mask, before, leaves) in others.items():
            if other == cpu or epoch <= clock[other] or not mask & other_mask:
                continue
            if leaves and kind not in _STORES:
                continue
            key = before[1][3], pc
            both = mask & other_mask
            pa = (number << _GRANULE) + (both & -both).bit_length() - 1
            known = self.found.get(key)
            if known is not None:
                known.times += 1
                continue
            self.found[key] = Race(before[1], record[1], (before[0], record[0]), pa)


def _is_store_release(order: _Order) -> bool:
    return order.releases and not order.acquires
