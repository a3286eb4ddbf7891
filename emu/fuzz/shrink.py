"""Shrinking a wrong answer: the smaller question is taken as long as the same property is broken.

What is smaller, :mod:`emu.fuzz.size` says. Each step proposes questions; what is not smaller is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, permutations
from math import comb
from typing import NamedTuple

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.errors import EmuError
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.size import Size, question_size
from emu.lookup.case import Question
from emu.lookup.starts import STARTS, changes_of
from emu.lookup.tables import DoesNotFit

_TRIES_MAX = 4000  # but for questions of few places
# NR_CPUS at which a smaller counterexample may be: small ones, and both sides of powers of two.
_SIZES = (
    *range(1, 9),
    *(size + 1 for size in (8, 16, 32, 64, 128, 256, 512, 1024, 2048)),
    16,
    32,
    64,
    128,
    512,
    1024,
)
_HWID_BITS = tuple(bit for bit in range(40) if MPIDR_HWID_BITMASK >> bit & 1)
_FIELDS = (0, 8, 16, 32)
_PAIRS_MAX = 4  # values of which each two are changed together, and CPUs of which another one asks
_PLACES_FEW, _PLACINGS_FEW, _BITS_FEW = 4, 3, 2  # of which all questions are asked

Begin = tuple[tuple[str, int], ...]


class _Asked(NamedTuple):
    # A question, with all that decides what it comes to.
    nr_cpus: int
    question: Question
    begin: Begin

    @property
    def size(self) -> Size:
        return question_size(*self)

    def with_map(self, logical_map: tuple[int | None, ...]) -> _Asked:
        return self._replace(question=replace(self.question, logical_map=logical_map))


@dataclass(slots=True)
class _Shrinking:
    under_test: UnderTest
    best: Checked
    asked: _Asked
    tries: int = _TRIES_MAX
    tried: set[_Asked] = field(default_factory=set)

    def improves(self, step: Callable[[UnderTest, _Asked], Steps]) -> bool:
        # Whether one of the questions that a step proposes is taken; of few bits, one that breaks it alike.
        proposed = step(self.under_test, self.asked)
        return any(self.takes(asked, alike=step is _few_bits) for asked in proposed)

    def takes(self, asked: _Asked, *, alike: bool) -> bool:
        # Whether it is smaller and breaks the same property, or does that alike: it is the best then.
        few = asked.nr_cpus <= _PLACES_FEW
        if (self.tries <= 0 and not few) or asked in self.tried:
            return False
        if not asked.size < self.asked.size or not self._is_fair(asked):
            return False
        self.tried.add(asked)
        self.tries -= not few
        try:
            checked = self.under_test.at(asked.nr_cpus, self.best.others).check_from(*asked[1:])
        except (DoesNotFit, EmuError):
            return False
        was, now = self.best.wrong, checked.wrong
        if was is None or now is None or now.prop != was.prop or (alike and now.cause != was.cause):
            return False
        self.best = checked
        self.asked = _Asked(asked.nr_cpus, checked.question, checked.begin)
        return True

    def _is_fair(self, asked: _Asked) -> bool:
        # No hwid twice, unless that was so; who has one that is there twice does not begin to ask.
        twice = _twice(asked.question)
        return not twice or (
            bool(before := _twice(self.asked.question))
            and (asked.question.mpidr & MPIDR_HWID_BITMASK in twice)
            <= (self.asked.question.mpidr & MPIDR_HWID_BITMASK in before)
        )


def _twice(question: Question) -> set[int]:
    counts = Counter(hwid for hwid in question.logical_map if hwid is not None)
    return {hwid for hwid, count in counts.items() if count > 1}


def shrink(under_test: UnderTest, found: Checked) -> Checked:
    """Return the smallest question found that breaks the same property.

    It may lead from one way in which that is broken to another, so that a bug is told once. Of few places and
    few bits all questions are asked that break it alike, of others at most _TRIES_MAX.
    """
    assert found.wrong is not None
    work = _Shrinking(under_test, found, _Asked(found.nr_cpus, found.question, found.begin))
    if not found.begin:
        found = work.best = _as_usual(under_test, found)
        work.asked = work.asked._replace(begin=found.begin)
    steps = (
        _fewer_places,
        _fewer_cpus,
        _fewer_changes,
        _one_for_two,
        _lower_places,
        _simpler_hwids,
        _simpler_mpidr,
        _few_bits,
    )
    settle([partial(work.improves, step) for step in steps])
    return work.best


def settle(steps: Sequence[Callable[[], bool]]) -> None:
    """Do each step as long as it improves something, and all of them again until none does."""
    improved = True
    while improved:
        improved = False
        for step in steps:
            while step():
                improved = True


def _as_usual(under_test: UnderTest, found: Checked) -> Checked:
    # The same question from the first start, or from what makes the start that shows it of the first.
    built = under_test.at(found.nr_cpus, found.others)
    for start in STARTS:
        checked = built.check_from(found.question, changes_of(start, built.target.contract.stack))
        if checked.wrong is not None:
            return checked
    return found


Steps = Iterator[_Asked]


def _fewer_places(under_test: UnderTest, asked: _Asked) -> Steps:
    logical_map = asked.question.logical_map
    kept = [hwid for hwid in logical_map if hwid is not None]
    ours = asked.question.mpidr & MPIDR_HWID_BITMASK
    mine = tuple(hwid for hwid in kept if hwid == ours)
    for nr_cpus in smaller_sizes(under_test, asked.nr_cpus):
        for smaller in (
            logical_map[:nr_cpus],
            logical_map[-nr_cpus:],
            tuple(kept[:nr_cpus]),
            mine,
            (*[None] * (nr_cpus - len(mine)), *mine),
        ):
            padded = (*smaller, *[None] * (nr_cpus - len(smaller)))
            yield asked._replace(nr_cpus=nr_cpus).with_map(padded)


def smaller_sizes(under_test: UnderTest, below: int) -> list[int]:
    """Return NR_CPUS to try, ascending, then the nearest; of a sweep also those between its values."""
    define = under_test.contract.defines.get("NR_CPUS")
    goes_through = under_test.sizes
    if define is None or not define.sweep or len(goes_through) < 2:
        return [size for size in goes_through if size < below]
    near = [below - (1 << step) for step in range(11, -1, -1)]
    sizes = [*sorted({*goes_through, *_SIZES}), *near]
    return [size for size in sizes if 0 < size < below]


def _fewer_cpus(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Drop halves first, then smaller parts, then single CPUs.
    logical_map = asked.question.logical_map
    present = [cpu for cpu, hwid in enumerate(logical_map) if hwid is not None]
    size = len(present)
    while size:
        for start in range(0, len(present), size):
            dropped = set(present[start : start + size])
            yield asked.with_map(
                tuple(None if cpu in dropped else hwid for cpu, hwid in enumerate(logical_map))
            )
        size //= 2
    ours, flags = asked.question.mpidr & MPIDR_HWID_BITMASK, asked.question.mpidr & ~MPIDR_HWID_BITMASK
    if ours in logical_map and len(present) <= _PAIRS_MAX:  # another one asks, and who asked is dropped
        rest = tuple(None if hwid == ours else hwid for hwid in logical_map)
        yield from (
            asked._replace(question=Question(rest, hwid | flags)) for hwid in rest if hwid is not None
        )


def _fewer_changes(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Of what is not as usual at entry: halves first, then each; then lower values.
    begin = asked.begin
    size = len(begin)
    while size:
        for start in range(0, len(begin), size):
            yield asked._replace(begin=begin[:start] + begin[start + size :])
        size //= 2
    for place, (name, value) in enumerate(begin):
        for simpler in (0, 1, *(value & ~(1 << bit) for bit in range(64) if value >> bit & 1)):
            yield asked._replace(begin=(*begin[:place], (name, simpler), *begin[place + 1 :]))


def _one_for_two(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Of each two that are not as usual one is; the other is as far from it as before. The smallest is first.
    begin = asked.begin
    if len(begin) > _PAIRS_MAX:
        return
    found: dict[_Asked, None] = {}
    for name, value in begin:
        usual = _usual(name)
        for other, its in begin:
            if usual is None or other == name or _usual(other) is None:
                continue
            for kept in ((usual + its - value) % 2**64, usual ^ its ^ value):
                less = tuple((each, kept if each == other else was) for each, was in begin if each != name)
                found[asked._replace(begin=less)] = None
    yield from sorted(found, key=lambda each: each.size)


def _usual(name: str) -> int | None:
    # What is there in the first start (u64); None: it is not as wide.
    if name.startswith("stack-"):
        return STARTS[0].filler
    return STARTS[0].registers[int(name[1:])] if name[0] == "x" else None


def _lower_places(_under_test: UnderTest, asked: _Asked) -> Steps:
    # All CPUs first; each further down; in ascending order.
    logical_map = asked.question.logical_map
    hwids = [hwid for hwid in logical_map if hwid is not None]
    holes: list[int | None] = [None] * (len(logical_map) - len(hwids))
    yield asked.with_map((*hwids, *holes))
    yield asked.with_map((*sorted(hwids), *holes))
    for cpu, hwid in enumerate(logical_map):
        if hwid is None:
            continue
        for to in dict.fromkeys((0, cpu // 2, *(cpu - (1 << step) for step in range(11, -1, -1)))):
            if 0 <= to < cpu:
                moved = list(logical_map)
                moved[to], moved[cpu] = hwid, logical_map[to]
                yield asked.with_map(tuple(moved))


def _simpler_hwids(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Of all at once, of all CPUs with one hwid, of one entry, of the asking CPU alone.
    question = asked.question
    ours, flags = question.mpidr & MPIDR_HWID_BITMASK, question.mpidr & ~MPIDR_HWID_BITMASK
    values = sorted({hwid for hwid in question.logical_map if hwid is not None} | {ours})
    for low in _FIELDS:  # another field, the same in all
        for change in (0xFF << low, *(1 << bit for bit in range(low, low + 8))):
            yield _changed(asked, {value: value & ~change for value in values}, flags)
    for lower in _FIELDS[:3]:
        for low in _FIELDS:
            moved = {
                v: v & ~(0xFF << low) | (v >> low & 0xFF) << lower for v in values if not v >> lower & 0xFF
            }
            yield _changed(asked, {**{value: value for value in values}, **moved}, flags)
    for one, two in permutations(values, 2) if len(values) <= _PAIRS_MAX else ():
        for joined in (one ^ two, one + two, two - one):  # what is compared of both stays
            if joined >= 0 and not joined & ~MPIDR_HWID_BITMASK:
                yield _changed(asked, {one: 0, two: joined}, flags)
    for value in values:
        for less in simpler(value):
            yield _changed(asked, {value: less}, flags)
            if value == ours and ours in question.logical_map:
                yield asked._replace(question=replace(question, mpidr=less | flags))
                entries = tuple(less if entry == value else entry for entry in question.logical_map)
                yield asked.with_map(entries)


def _changed(asked: _Asked, new: dict[int, int], flags: int) -> _Asked:
    # With these hwids in place of others, also of the asking CPU.
    question = asked.question
    entries = tuple(None if entry is None else new.get(entry, entry) for entry in question.logical_map)
    ours = question.mpidr & MPIDR_HWID_BITMASK
    return asked._replace(question=Question(entries, new.get(ours, ours) | flags))


def simpler(hwid: int) -> Iterator[int]:
    """Yield hwids of fewer bits, the fewest first; then of as many, lower ones."""
    yield 0
    if hwid.bit_count() > 1:
        yield from (1 << bit for bit in _HWID_BITS)
        yield from (hwid & ~(1 << bit) for bit in reversed(_HWID_BITS) if hwid >> bit & 1)
    for bit in _HWID_BITS:
        if hwid >> bit & 1:
            yield from (hwid ^ (1 << bit | 1 << to) for to in _HWID_BITS if to < bit and not hwid >> to & 1)


def _simpler_mpidr(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Flags as on most machines.
    flags = asked.question.mpidr & ~MPIDR_HWID_BITMASK
    hwid = asked.question.mpidr & MPIDR_HWID_BITMASK
    for simpler in (RES1, *(flags ^ 1 << bit for bit in range(64) if (flags ^ RES1) >> bit & 1)):
        yield asked._replace(question=replace(asked.question, mpidr=hwid | simpler))


def _few_bits(_under_test: UnderTest, asked: _Asked) -> Steps:
    # All questions of as many CPUs with few bits: no way down may lead to them.
    nr_cpus = asked.nr_cpus
    cpus = sum(hwid is not None for hwid in asked.question.logical_map)
    if nr_cpus > _PLACES_FEW or cpus > 1 and comb(nr_cpus, cpus) > _PLACINGS_FEW:
        return
    flags = dict.fromkeys((RES1, asked.question.mpidr & ~MPIDR_HWID_BITMASK))
    room = [(which, 1 << bit) for bit in _HWID_BITS for which in range(cpus + 1)]
    for bits in range(_BITS_FEW + 1):
        for chosen in combinations(room, bits):
            values = [sum(bit for which, bit in chosen if which == each) for each in range(cpus + 1)]
            for places in combinations(range(nr_cpus), cpus):
                hwid_at = dict(zip(places, values, strict=False))
                logical_map = tuple(hwid_at.get(cpu) for cpu in range(nr_cpus))
                for flag in flags:
                    yield asked._replace(question=Question(logical_map, values[-1] | flag))
