"""Which of two questions is the smaller one: the order that :mod:`emu.fuzz.shrink` goes down.

docs/campaigns.md has it in words; tests enumerate all smaller questions with an order of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.lookup.case import LookupCase, Question
from emu.lookup.tear import Tear

Size = tuple[object, ...]  # as a sort key


def size_of(case: LookupCase) -> Size:
    """Return a sort key of cases: the smaller case is easier to understand; different cases differ."""
    race = case.race.size if isinstance(case.race, Tear) else (case.race or 0,)
    return (*question_size(case.nr_cpus, case.question, case.begin), race, case.others)


def question_size(nr_cpus: int, question: Question, begin: Sequence[tuple[str, int]] = ()) -> Size:
    """Return a sort key of questions.

    :param begin: what is not as usual at entry
    """
    used = tuple(cpu for cpu, hwid in enumerate(question.logical_map) if hwid is not None)
    hwids = tuple(hwid for hwid in question.logical_map if hwid is not None)
    asks = question.mpidr & MPIDR_HWID_BITMASK
    flags = question.mpidr & ~MPIDR_HWID_BITMASK
    return (
        nr_cpus,
        len(used),
        len(begin),
        sum(hwid.bit_count() for hwid in (*hwids, asks)),
        sum(used),
        sum(hwids) + asks,
        (flags ^ RES1).bit_count(),
        sum(value.bit_count() for _name, value in begin),
        sum(value for _name, value in begin),
        used,
        hwids,
        question.mpidr,
        tuple(begin),
    )
