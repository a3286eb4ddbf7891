"""Whether a CPU executes what was stored before its instruction fetches are sure to see it.

Data and instruction caches are not coherent. Who stores code cleans it to the PoU (DC CVAU), a DSB behind
that, invalidates the instruction caches (IC IVAU, or IC IALLU on the CPU that executes), a DSB behind that;
and the CPU that executes has an ISB behind it all (Arm DDI 0487 B2.4.4). CTR_EL0 may say that there is
nothing to clean or to invalidate. A store with caches off needs no cleaning. A CPU that is switched on has
nothing in its instruction cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from emu.finding import PC, Finding
from emu.operation import STORES, CodeCaches, Kind
from emu.trace import Row, Trace

NAME = "stored-code"
_SAYS = "CPU{cpu} executes the instruction at {pc}, which CPU{by} has stored at {at}, without "
_WHY = " (Arm DDI 0487 B2.4.4)"
_OLD = ": it may execute what was there before" + _WHY
WORDS = {
    "not-cleaned": _SAYS + "a DC CVAU of it since: the new word may be in a data cache alone" + _WHY,
    "not-ordered": _SAYS + "a DSB between the store, or its DC CVAU, and an IC IVAU" + _OLD,
    "not-invalidated": _SAYS + "an IC IVAU of it since, or an IC IALLU of its own" + _OLD,
    "not-completed": _SAYS + "a DSB behind the IC" + _OLD,
    "not-synchronised": _SAYS + "an ISB of its own behind the DSB that completes the IC" + _OLD,
}
FIX = dict.fromkeys(
    WORDS,
    "DC CVAU, DSB ISH, IC IVAU, DSB ISH behind the store at {at}, and an ISB on CPU{cpu} before {pc}",
)
IDENTITY = ("cpu", "at")


class _Step(IntEnum):
    # What comes next before a CPU may execute the word.
    CLEAN = 0
    ORDER = 1
    INVALIDATE = 2
    COMPLETE = 3
    SYNCHRONISE = 4
    NOTHING = 5


_MISSING = (
    "not-cleaned",
    "not-ordered",
    "not-invalidated",
    "not-completed",
    "not-synchronised",
    "",
)  # by step
_DSB, _ISB = 4, 6  # op2 of barriers
_STORES, _ALL = 2, 3  # CRm[1:0] of a DSB
_NON_SHAREABLE = 1  # CRm[3:2] of a DSB
_IC_ALL_HERE, _IC_ALL, _IC_LINE = 0xD508_751F, 0xD508_711F, 0xD50B_7520
_DC_CLEAN = (0xD50B_7A20, 0xD50B_7B20, 0xD50B_7C20, 0xD50B_7E20)  # CVAC, CVAU, CVAP, CIVAC
# Barriers, contexts that are synchronised as by an ISB, and what else is done to code.
_FOLLOWED = (Kind.CACHE, Kind.BARRIER, Kind.EXCEPTION, Kind.EL, Kind.POWER_ON, Kind.COPY)
_M_AND_C = 1 | 1 << 2
_LINE = 64


@dataclass(slots=True)
class _Code:
    # A word that `cpu` executes: where, what its CTR_EL0 says, and what became of it since it was stored.
    cpu: int
    pc: int
    pa: int
    caches: int
    step: _Step = _Step.NOTHING
    actor: int = 0  # whose DSB is waited for
    by: int = 0  # who has stored it, the PC and the number of the record
    at: int = 0
    record: int = 0
    too_early: bool = False  # an IC came where the store was not ordered before it

    @property
    def missing(self) -> str:
        """What of its finding: nothing, when it may be executed."""
        if self.step is _Step.INVALIDATE and self.too_early:
            return _MISSING[_Step.ORDER]
        return _MISSING[self.step]

    def store(self, cpu: int, pc: int, number: int, *, cached: bool) -> None:
        self.by, self.at, self.record, self.actor = cpu, pc, number, cpu
        self.too_early = False
        clean = cached and not self.caches & CodeCaches.NO_CLEAN
        self.step = _Step.CLEAN if clean else _Step.ORDER

    def maintain(self, cpu: int, word: int, at: int) -> None:
        if word & ~31 in _DC_CLEAN:
            if self.step is _Step.CLEAN and self._is_at(at):
                self.step, self.actor = _Step.ORDER, cpu
            return
        everything = word == _IC_ALL or (word == _IC_ALL_HERE and cpu == self.cpu)
        if everything or (word & ~31 == _IC_LINE and self._is_at(at)):
            self.too_early |= self.step is _Step.ORDER
            if self.step is _Step.INVALIDATE:
                self.step, self.actor = _Step.COMPLETE, cpu

    def _is_at(self, pa: int) -> bool:
        return pa // _LINE == self.pa // _LINE

    def dsb(self, cpu: int, crm: int) -> None:
        if cpu != self.actor or (crm >> 2 == _NON_SHAREABLE and cpu != self.cpu):
            return
        if self.step is _Step.ORDER and crm & _STORES:
            dic = self.caches & CodeCaches.NO_INVALIDATE
            self.step = _Step.SYNCHRONISE if dic else _Step.INVALIDATE
        elif self.step is _Step.COMPLETE and crm & 3 == _ALL:
            self.step = _Step.SYNCHRONISE

    def synchronise(self) -> None:
        if self.step is _Step.SYNCHRONISE:
            self.step = _Step.NOTHING

    def switch_on(self) -> None:
        if self.step >= _Step.INVALIDATE:
            self.step = _Step.NOTHING


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and store of code that it executes too early."""
    if not trace.has(Kind.FETCH):
        return []
    return [
        finding
        for boot, rows in enumerate(trace.numbered_boots())
        for finding in _judge(trace, boot, list(rows))
    ]


def _judge(trace: Trace, boot: int, rows: list[tuple[int, Row]]) -> Iterator[Finding]:
    executed = _executed(rows)
    if not executed:
        return
    by_pa: dict[int, list[_Code]] = {}
    for code in executed.values():
        by_pa.setdefault(code.pa, []).append(code)
    pending: list[_Code] = []
    uncached: set[int] = set()  # CPUs whose stores go past the caches
    mapped: dict[int, int] = {}  # by CPU, the PA of the maintenance that follows
    told = set()
    for number, (kind, size, cpu, pc, pa, value) in rows:
        if kind in STORES:
            for code in _executed_in(by_pa, pa, size):
                if code.step is _Step.NOTHING:
                    pending.append(code)
                code.store(cpu, pc, number, cached=cpu not in uncached)
        elif kind == Kind.FETCH:
            code = executed[cpu, pa]
            what = code.missing
            code.step = _Step.NOTHING  # once is enough
            if what and (cpu, code.at, what) not in told:
                told.add((cpu, code.at, what))
                data = {"cpu": cpu, "pc": PC(pc), "by": code.by, "at": trace.place(code.at)}
                yield Finding.of(NAME, what, (cpu,), data, (code.record, number), boot)
        elif kind == Kind.MMU:
            (uncached.discard if value & _M_AND_C == _M_AND_C else uncached.add)(cpu)
        elif kind == Kind.POWER_ON:
            uncached.add(cpu)
        elif kind == Kind.MAPPED:
            mapped[cpu] = pa
        elif kind == Kind.CACHE:
            pa = mapped.pop(cpu, pa)
        if pending and kind in _FOLLOWED:
            for code in pending:
                _follow(code, kind, cpu, pa, value)
            pending = [code for code in pending if code.step is not _Step.NOTHING]


def _executed(rows: Iterable[tuple[int, Row]]) -> dict[tuple[int, int], _Code]:
    # What is executed of what was stored, by CPU and PA.
    found: dict[tuple[int, int], _Code] = {}
    for _, (kind, size, cpu, pc, pa, _value) in rows:
        if kind == Kind.FETCH:
            found.setdefault((cpu, pa), _Code(cpu, pc, pa, size))
    return found


def _executed_in(by_pa: Mapping[int, list[_Code]], pa: int, size: int) -> Iterator[_Code]:
    for at in range(pa & -4, pa + size, 4):
        yield from by_pa.get(at, ())


def _follow(code: _Code, kind: int, cpu: int, pa: int, value: int) -> None:
    # What comes between the store and the execution of the word.
    if kind == Kind.CACHE:
        code.maintain(cpu, value, pa)
    elif kind == Kind.COPY:  # a loader's, which does what is to be done
        if pa <= code.pa < pa + value:
            code.step = _Step.NOTHING
    elif kind == Kind.BARRIER and value >> 5 & 7 == _DSB:
        code.dsb(cpu, value >> 8 & 15)
    elif cpu == code.cpu and kind == Kind.POWER_ON:
        code.switch_on()
    elif cpu == code.cpu and (kind != Kind.BARRIER or value >> 5 & 7 == _ISB):
        code.synchronise()
