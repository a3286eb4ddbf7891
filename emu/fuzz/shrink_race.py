"""Shrinking a run in which the table changes: fewer stores, CPUs and bits, and each store as early as can be.

What is smaller, :mod:`emu.fuzz.size` says. Each step proposes runs; what is not smaller is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, combinations_with_replacement
from typing import NamedTuple

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.errors import EmuError
from emu.fuzz.built_lookup import Checked, Others, UnderTest
from emu.fuzz.race import Race
from emu.fuzz.shrink import settle, shrink, simpler, smaller_sizes
from emu.fuzz.size import Size, question_size
from emu.lookup.case import Question
from emu.lookup.tear import Change, Changes

_TRIES_MAX = 6000
_PLACES_FEW, _STORES_FEW, _BITS_FEW = 4, 2, 2  # of which all runs are tried, with one bit of each field
_FIELDS = (0, 8, 16, 32)

Map = tuple[int | None, ...]


class _Asked(NamedTuple):
    # A run.
    nr_cpus: int
    question: Question
    changes: Changes

    @property
    def size(self) -> Size:
        return question_size(self.nr_cpus, self.question, (), self.changes)

    @property
    def values(self) -> list[int]:
        """All hwids."""
        found = {hwid for hwid in self.question.logical_map if hwid is not None}
        found |= {each.hwid for each in self.changes.each if each.hwid is not None}
        return sorted(found | {self.question.mpidr & MPIDR_HWID_BITMASK})

    @property
    def when(self) -> tuple[tuple[int, int], ...]:
        return tuple((each.read, each.parts) for each in self.changes.each)

    def at(self, when: tuple[tuple[int, int], ...]) -> _Asked:
        pairs = zip(self.changes.each, when, strict=True)
        each = tuple(change._replace(read=read, parts=parts) for change, (read, parts) in pairs)
        return self._replace(changes=Changes(each))

    def with_map(self, logical_map: Map) -> _Asked:
        return self._replace(question=Question(logical_map, self.question.mpidr))

    def with_values(self, new: dict[int, int]) -> _Asked:
        """Return it with these hwids in place of others."""
        flags, ours = self.question.mpidr & ~MPIDR_HWID_BITMASK, self.question.mpidr & MPIDR_HWID_BITMASK
        entries = tuple(None if hwid is None else new.get(hwid, hwid) for hwid in self.question.logical_map)
        changes = tuple(
            each if each.hwid is None else each._replace(hwid=new.get(each.hwid, each.hwid))
            for each in self.changes.each
        )
        return _Asked(self.nr_cpus, Question(entries, new.get(ours, ours) | flags), Changes(changes))


Steps = Iterator[_Asked]


@dataclass(slots=True)
class _Shrinking:
    under_test: UnderTest
    others: Others
    best: Checked
    asked: _Asked
    tries: int = _TRIES_MAX
    races: dict[int, Race] = field(default_factory=dict)
    tried: set[_Asked] = field(default_factory=set)

    def improves(self, step: Callable[[UnderTest, _Asked], Steps]) -> bool:
        # Whether one of the runs that a step proposes is taken.
        return any(map(self.takes, step(self.under_test, self.asked)))

    def takes(self, asked: _Asked) -> bool:
        # Whether it is smaller, and its answer is wrong in the same way: it is the best then.
        if self.tries <= 0 or asked in self.tried or not asked.size < self.asked.size:
            return False
        self.tried.add(asked)
        self.tries -= 1
        checked = self.run(asked)
        if checked is None or checked.wrong is None or checked.answer.exit != self.best.answer.exit:
            return False
        self.best, self.asked = checked, asked
        return True

    def run(self, asked: _Asked) -> Checked | None:
        # None: there is no such run.
        try:
            if asked.nr_cpus not in self.races:
                self.races[asked.nr_cpus] = Race(self.under_test.at(asked.nr_cpus, self.others))
            return self.races[asked.nr_cpus].run(asked.changes, asked.question)
        except EmuError:  # it does not assemble so, a hwid would be there twice, the table cannot hold it
            return None


def smallest_of(under_test: UnderTest, found: Checked) -> Checked:
    """Return the smallest question, or run in which the table changes, found to be wrong in the same way."""
    return (shrink if found.race is None else shrink_race)(under_test, found)


def shrink_race(under_test: UnderTest, found: Checked) -> Checked:
    """Return the smallest run found whose answer is wrong in the same way, as stores one by one.

    The run itself, where it is no row of stores.
    """
    assert found.wrong is not None
    in_steps = Race(under_test.at(found.nr_cpus, found.others)).in_steps(found)
    if in_steps is None:
        return found
    work = _Shrinking(under_test, found.others, found, _Asked(found.nr_cpus, *in_steps))
    first = work.run(work.asked)
    if first is None or first.wrong is None or first.answer.exit != found.answer.exit:
        return found
    work.best = first
    steps = (_fewer_stores, _fewer_places, _fewer_cpus, _lower_places, _simpler_values, _earlier, _few_bits)
    settle([partial(work.improves, step) for step in steps])
    return work.best


def _whens(asked: _Asked) -> Steps:
    # As it is, then with the stores at every place, the earliest first.
    yield asked
    if len(asked.changes.each) > _STORES_FEW:
        return
    parts = sorted({0, *(sign * part for _read, part in asked.when for sign in (1, -1))}, key=_sooner)
    last = max(read for read, _part in asked.when)
    places = [(read, part) for read in range(last + 1) for part in parts]
    for when in combinations_with_replacement(places, len(asked.changes.each)):
        yield asked.at(when)


def _sooner(parts: int) -> tuple[int, bool]:
    return abs(parts), parts < 0


def _fewer_stores(_under_test: UnderTest, asked: _Asked) -> Steps:
    each = asked.changes.each
    for number, change in enumerate(each):
        if len(each) > 1:
            rest = (*each[:number], *each[number + 1 :])
            yield asked._replace(changes=Changes(rest))
            if number == 0:  # it was so from the start
                logical_map = [*asked.question.logical_map]
                logical_map[change.cpu] = change.hwid
                yield asked._replace(changes=Changes(rest)).with_map(tuple(logical_map))


def _touched(asked: _Asked) -> list[int]:
    # CPUs whose entries are stored to, or who ask.
    ours = asked.question.mpidr & MPIDR_HWID_BITMASK
    cpus = {each.cpu for each in asked.changes.each}
    return sorted(cpus | {cpu for cpu, hwid in enumerate(asked.question.logical_map) if hwid == ours})


def _moved(asked: _Asked, nr_cpus: int, to: dict[int, int]) -> _Asked:
    # At another NR_CPUS, with these CPUs at other places, and no others.
    logical_map: list[int | None] = [None] * nr_cpus
    for cpu, hwid in enumerate(asked.question.logical_map):
        if cpu in to:
            logical_map[to[cpu]] = hwid
    each = tuple(change._replace(cpu=to[change.cpu]) for change in asked.changes.each)
    return _Asked(nr_cpus, Question(tuple(logical_map), asked.question.mpidr), Changes(each))


def _fewer_places(under_test: UnderTest, asked: _Asked) -> Steps:
    touched = _touched(asked)
    for nr_cpus in smaller_sizes(under_test, asked.nr_cpus):
        if nr_cpus < len(touched):
            continue
        if touched[-1] < nr_cpus:
            yield _moved(asked, nr_cpus, {cpu: cpu for cpu in range(nr_cpus)})
        for first in {0, nr_cpus - len(touched)}:
            to = {cpu: first + number for number, cpu in enumerate(touched)}
            yield from _whens(_moved(asked, nr_cpus, to))


def _fewer_cpus(_under_test: UnderTest, asked: _Asked) -> Steps:
    touched, logical_map = _touched(asked), asked.question.logical_map
    yield asked.with_map(tuple(hwid if cpu in touched else None for cpu, hwid in enumerate(logical_map)))
    for dropped, hwid in enumerate(logical_map):
        if hwid is not None:
            yield from _whens(asked.with_map((*logical_map[:dropped], None, *logical_map[dropped + 1 :])))


def _lower_places(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Each CPU that matters further down, in place of the one there.
    used = {
        *_touched(asked),
        *(cpu for cpu, hwid in enumerate(asked.question.logical_map) if hwid is not None),
    }
    for cpu in sorted(used):
        for lower in range(min(cpu, _PLACES_FEW)):
            to = {each: each for each in range(asked.nr_cpus)} | {cpu: lower, lower: cpu}
            yield from _whens(_moved(asked, asked.nr_cpus, to))


def _simpler_values(_under_test: UnderTest, asked: _Asked) -> Steps:
    # Bits of all hwids at once, of one of them, of the one that asks; then the flags.
    values, question = asked.values, asked.question
    for low in _FIELDS:
        for change in (0xFF << low, *(1 << bit for bit in range(low, low + 8))):
            yield asked.with_values({value: value & ~change for value in values})
    for value in values:
        for less in simpler(value):
            yield asked.with_values({value: less})
    flags = question.mpidr & ~MPIDR_HWID_BITMASK
    for less in simpler(question.mpidr & MPIDR_HWID_BITMASK):
        yield asked._replace(question=Question(question.logical_map, less | flags))
    yield asked._replace(question=Question(question.logical_map, question.mpidr & MPIDR_HWID_BITMASK | RES1))
    for number, each in enumerate(asked.changes.each):
        if each.hwid is not None:
            row = [*asked.changes.each]
            row[number] = each._replace(hwid=None)
            yield asked._replace(changes=Changes(tuple(row)))


def _earlier(_under_test: UnderTest, asked: _Asked) -> Steps:
    yield from _whens(asked)
    for number, each in enumerate(asked.changes.each):
        for read in range(each.read):
            row = [*asked.changes.each]
            row[number] = each._replace(read=read, parts=0)
            yield asked._replace(changes=Changes(tuple(row)))


def _few_bits(_under_test: UnderTest, asked: _Asked) -> Steps:
    # All runs of as many CPUs and stores with few bits, each the lowest of a field.
    nr_cpus, stores = asked.nr_cpus, asked.changes.each
    cpus = sum(hwid is not None for hwid in asked.question.logical_map)
    if nr_cpus > _PLACES_FEW or len(stores) > _STORES_FEW or cpus > _STORES_FEW:
        return
    count = cpus + len(stores) + 1
    room = [(which, 1 << low) for low in _FIELDS for which in range(count)]
    for bits in range(_BITS_FEW + 1):
        for chosen in combinations(room, bits):
            values = [sum(bit for which, bit in chosen if which == each) for each in range(count)]
            for places in combinations(range(nr_cpus), cpus):
                hwid_at = dict(zip(places, values, strict=False))
                logical_map = tuple(hwid_at.get(cpu) for cpu in range(nr_cpus))
                pairs = zip(stores, values[cpus:], strict=False)
                row = tuple(
                    change if change.hwid is None else Change(change.cpu, hwid, change.read, change.parts)
                    for change, hwid in pairs
                )
                yield from _whens(_Asked(nr_cpus, Question(logical_map, values[-1] | RES1), Changes(row)))
