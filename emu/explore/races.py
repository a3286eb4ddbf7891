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
from itertools import compress

from emu.arch import a64, psci
from emu.columns import Columns, among, both, either, low_bytes, sums, with_bytes, with_owners
from emu.operation import LOADS, STORES, Kind
from emu.trace import Records, Row

_LOADS, _STORES = frozenset(map(int, LOADS)), frozenset(map(int, STORES))
_ACCESSES = _LOADS | _STORES
_LOAD = int(Kind.LOAD)
_LOAD = int(Kind.LOAD)
_CALL, _BARRIER, _INTERRUPT, _STOP = map(int, (Kind.CALL, Kind.BARRIER, Kind.SEND_INTERRUPT, Kind.POWER_OFF))
_ORDERING = (_CALL, _BARRIER, _INTERRUPT, _STOP)
_STARTS = (psci.Function.CPU_ON32, psci.Function.CPU_ON64)
_BYTES = 8  # of a granule
_LAST = _BYTES - 1
_MASK = (1 << _BYTES) - 1
_ALL = 2**64 - 1
# A key of what is done to a granule: its PA, these bits, and the CPU.
_STORED, _TOUCHED, _OWNER = 1, 2, 48
_OF_GRANULE = (1 << _OWNER) - _BYTES
# Of a byte: the PA of its granule, the offset there; whether an access that ends there has another granule.
_BASES, _OFFSETS = bytes(at & ~_LAST for at in range(256)), bytes(at & _LAST for at in range(256))
_ENDS_BEHIND = bytes(at > _BYTES for at in range(256))
_TWICE = bytes(2 * (at & 1) for at in range(256))
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


_PLAIN = _Order()


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
    return _PLAIN


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
    # Of the CPU that alone has accessed them since another did: the bytes of plain loads and of plain stores
    # that race with nobody, which more of them do no better and no worse.

    __slots__ = (
        "cpu",
        "is_data",
        "is_release",
        "known",
        "loaded",
        "loads",
        "pa",
        "released",
        "stored",
        "stores",
        "value",
    )

    def __init__(self, pa: int, *, is_data: bool) -> None:
        self.pa = pa
        self.is_data = is_data
        self.stores: dict[int, tuple[int, int, _Numbered, bool]] = {}
        self.loads: dict[int, tuple[int, int, _Numbered, bool]] = {}
        self.value = self.known = 0  # of `known` each bit of a byte is set
        self.released: _Clock | None = None
        self.is_release = False
        self.cpu = -1
        self.loaded = self.stored = 0

    def take(self, access: Row) -> bool:
        """Take the value of an access; tell whether it is what was there, as known."""
        _, size, _, _, pa, value = access
        if size == _BYTES and not pa & _LAST:
            same = self.known == _ALL and self.value == value
            self.value, self.known = value, _ALL
            return same
        shift = 8 * (pa - self.pa)
        bits = (1 << 8 * size) - 1
        bits, value = (bits << shift, value << shift) if shift >= 0 else (bits >> -shift, value >> -shift)
        bits &= _ALL
        same = not (self.value ^ value | ~self.known) & bits
        self.value, self.known = self.value & ~bits | value & bits, self.known | bits
        return same


def races(records: Records, hwids: Sequence[int], word_of: Callable[[int], int]) -> list[Race]:
    """Return the races among the records of a run, in the order in which they were first seen.

    :param hwids: of the CPUs by number, as CPU_ON takes them
    :param word_of: returns the instruction word at a VA of code, 0: not known
    """
    orders = _Orders(word_of)
    flags, granules = _shared(records.columns(), orders)
    cpu_of = {hwid: cpu for cpu, hwid in enumerate(hwids)}
    detector = _Detector(len(hwids), orders)
    access, find, clocks = detector.access, granules.get, detector.clocks
    for record in records.flagged(flags):
        kind, size, cpu, pc, pa, value = record[1]
        if kind in _ACCESSES:
            low = pa & _LAST
            mask = (1 << size) - 1 << low
            if mask <= _MASK:  # most of them
                granule = granules[pa - low]
                if granule.cpu != cpu or kind != _LOAD or mask & ~granule.loaded or orders[pc] is not _PLAIN:
                    access(record, granule, mask)
                elif granule.is_data:  # a load as one before, which access() would take longer for
                    if value != granule.value or mask != _MASK or granule.known != _ALL:
                        granule.take(record[1])
                    granule.loads[cpu] = clocks[cpu][cpu], mask, record, False
                continue
            for at in _parts(pa, size):
                if (part := find(at)) is not None:
                    access(record, part, mask >> at - pa + low & _MASK)
        elif kind == _BARRIER:
            detector.barrier(cpu, a64.ordered_by(value))
        elif kind == _INTERRUPT:
            detector.tell(cpu, (value,))
        elif kind == _CALL and value & 0xFFFF_FFFF in _STARTS and pa in cpu_of:
            detector.tell(cpu, (cpu_of[pa],))
        elif kind == _STOP:
            detector.tell(cpu, range(len(hwids)))
    return list(detector.found.values())


def _parts(pa: int, size: int) -> range:
    # The PA of each granule of an access.
    return range(pa & ~_LAST, pa + size + _LAST & ~_LAST, _BYTES)


def _shared(columns: Columns, orders: _Orders) -> tuple[bytes, dict[int, _Granule]]:
    # Flags of the records to look at, and by PA the granules that several CPUs touch and one stores to.
    accesses, stores = columns.are(*_ACCESSES), columns.are(*_STORES)
    low = low_bytes(columns.pas)
    wide = both(accesses, sums(low.translate(_OFFSETS), columns.sizes).translate(_ENDS_BEHIND))
    # Those of several granules, by their index.
    parts = {at: _parts(columns.pas[at], columns.sizes[at]) for at in compress(range(len(wide)), wide)}
    bases = low.translate(_BASES)
    granules = with_bytes(columns.pas, 0, bases)
    # A granule with what is done to it in its low bits, and by whom in the topmost.
    done = either(stores, accesses.translate(_TWICE))
    keys = with_bytes(columns.pas, 0, either(bases, done))
    touched = set(with_owners(keys, columns.actors))
    for at, those in parts.items():
        bits = done[at] | columns.actors[at] << _OWNER
        touched.update(range(those.start | bits, those.stop | bits, _BYTES))
    shared = _of_several(touched)
    chosen = bytearray(both(accesses, among(granules, shared)))
    for at, those in parts.items():
        chosen[at] = not shared.isdisjoint(those)
    some = compress(range(len(chosen)), chosen)
    marking = {pc for pc in set(compress(columns.pcs, chosen)) if orders[pc].is_marked}
    marked: set[int] = set()
    for at in compress(some, map(marking.__contains__, compress(columns.pcs, chosen))):
        marked.update(parts.get(at) or (granules[at],))
    flags = either(bytes(chosen), columns.are(*_ORDERING))
    return flags, {pa: _Granule(pa, is_data=pa not in marked) for pa in shared}


def _of_several(touched: Iterable[int]) -> set[int]:
    # PAs of the granules that several CPUs touch and one stores to.
    by: dict[int, int] = {}
    several: set[int] = set()
    stored: set[int] = set()
    for key in touched:
        if key & _TOUCHED:
            pa, owner = key & _OF_GRANULE, key >> _OWNER
            if by.setdefault(pa, owner) != owner:
                several.add(pa)
            if key & _STORED:
                stored.add(pa)
    return several & stored


class _Detector:
    # Follows order by a clock for each CPU, and finds the races of accesses as they come.

    def __init__(self, cpus: int, orders: _Orders) -> None:
        self._orders = orders
        self.clocks = [[int(cpu == other) for other in range(cpus)] for cpu in range(cpus)]
        self._fences: list[_Clock | None] = [None] * cpus  # at the last barrier that orders stores
        self._pending: list[_Clock | None] = [None] * cpus  # what a barrier that orders loads will add
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
        clock = tuple(self.clocks[cpu])
        self.clocks[cpu][cpu] += 1
        return clock

    def _join(self, cpu: int, clock: _Clock | None) -> None:
        if clock is not None:
            self.clocks[cpu] = list(map(max, self.clocks[cpu], clock))

    # -- accesses ---------------------------------------------------------------------------------

    def access(self, record: _Numbered, granule: _Granule, mask: int) -> None:
        """A CPU accesses bytes of a granule."""
        kind, _, cpu, pc, _, _ = record[1]
        order, stores = self._orders[pc], kind in _STORES
        if granule.cpu != cpu or order is not _PLAIN:
            granule.cpu = cpu
            granule.loaded = granule.stored = 0
        again = not mask & ~(granule.stored if stores else granule.loaded)
        leaves = False
        if granule.is_data:
            leaves = granule.take(record[1]) and stores
        if not again:
            races = False
            if not stores:
                self._load(cpu, granule, order)
            if granule.is_data and not leaves:
                races = self._check(record, granule, granule.stores, mask)
                if stores:
                    races |= self._check(record, granule, granule.loads, mask)
            if order is _PLAIN and not races and not leaves:
                if stores:
                    granule.stored |= mask
                else:
                    granule.loaded |= mask
        if granule.is_data:
            last = granule.stores if stores else granule.loads
            last[cpu] = self.clocks[cpu][cpu], mask, record, leaves
        if not stores:
            return
        if order is _PLAIN:
            granule.released, granule.is_release = self._fences[cpu], False
        else:
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
        record: _Numbered,
        granule: _Granule,
        others: dict[int, tuple[int, int, _Numbered, bool]],
        mask: int,
    ) -> bool:
        # Keep the races of an access with those of other CPUs; tell whether there are any.
        kind, _, cpu, pc, _, _ = record[1]
        clock, races = self.clocks[cpu], False
        for other, (epoch, other_mask, before, leaves) in others.items():
            if other == cpu or epoch <= clock[other] or not mask & other_mask:
                continue
            if leaves and kind not in _STORES:
                continue
            races = True
            key = before[1][3], pc
            shared = mask & other_mask
            pa = granule.pa + (shared & -shared).bit_length() - 1
            known = self.found.get(key)
            if known is not None:
                known.times += 1
                continue
            self.found[key] = Race(before[1], record[1], (before[0], record[0]), pa)
        return races


def _is_store_release(order: _Order) -> bool:
    return order.releases and not order.acquires
