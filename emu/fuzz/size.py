"""Which of two questions is the smaller one: the order that :mod:`emu.fuzz.shrink` goes down.

docs/campaigns.md has it in words; tests enumerate all smaller questions with an order of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.lookup.case import LookupCase, Question
from emu.lookup.tear import Changes, Happens, Tear

Size = tuple[object, ...]  # as a sort key


def size_of(case: LookupCase) -> Size:
    """Return a sort key of cases: the smaller case is easier to understand; different cases differ."""
    return (*question_size(case.nr_cpus, case.question, case.begin, case.race), case.others)


def question_size(
    nr_cpus: int,
    question: Question,
    begin: Sequence[tuple[str, int]] = (),
    race: Happens | None = None,
) -> Size:
    """Return a sort key of questions.

    :param begin: what is not as usual at entry
    :param race: stores to the table meanwhile
    """
    used = tuple(cpu for cpu, hwid in enumerate(question.logical_map) if hwid is not None)
    hwids = tuple(hwid for hwid in question.logical_map if hwid is not None)
    stores = race.each if isinstance(race, Changes) else ()
    there = len(used)
    used += tuple(each.cpu for each in stores)
    hwids += tuple(-1 if each.hwid is None else each.hwid for each in stores)
    asks = question.mpidr & MPIDR_HWID_BITMASK
    flags = question.mpidr & ~MPIDR_HWID_BITMASK
    return (
        nr_cpus,
        there,
        len(begin) + len(stores),
        sum(hwid.bit_count() for hwid in (*hwids, asks) if hwid >= 0),
        sum(used),
        sum(hwid for hwid in (*hwids, asks) if hwid >= 0),
        (flags ^ RES1).bit_count(),
        sum(value.bit_count() for _name, value in begin),
        sum(value for _name, value in begin),
        used,
        hwids,
        question.mpidr,
        tuple(begin),
        _when(race),
    )


def _when(race: Happens | None) -> tuple[int, ...]:
    if isinstance(race, Changes):
        return tuple(number for each in race.each for number in each.when)
    return race.size if isinstance(race, Tear) else (race or 0,)
