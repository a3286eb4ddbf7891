"""A look-up that is called again: it finds in registers and flags what an earlier call has left there.

The table may be the same or another one meanwhile, and SP where another caller has it. A right answer depends
on none of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from emu.arch.mpidr import RES1
from emu.fuzz.built_lookup import BuiltLookup
from emu.lookup.case import Question
from emu.lookup.starts import Start, changes_of
from emu.lookup.tables import DoesNotFit

_HWIDS = (0, 1)  # of the maps, in their first two places
_SP_PAGE = 4096  # of its low bits, the values that are gone through
_ASK = (*_HWIDS, 1 << 32)  # the last is in none, and like the first in its low bits


def questions_again(built: BuiltLookup) -> Iterator[tuple[Question, tuple[tuple[str, int], ...]]]:
    """Yield each small question from what each of them leaves (:func:`emu.lookup.starts.start_from`)."""
    questions = [Question(built.whole(row), RES1 | hwid) for row in _maps(built.nr_cpus) for hwid in _ASK]
    fit = [question for question in questions if _fits(built, question)]
    stack = built.target.contract.stack
    left: dict[Start, None] = {}
    for question in fit:
        if built.single.ask(question).exit:
            left[built.single.left()] = None
    for question in fit:
        yield from ((question, changes_of(start, stack)) for start in left)
    for end in range(0, _SP_PAGE, 16) if stack else ():
        yield from ((question, (("sp", end),)) for question in _ends(fit))


def _ends(questions: Sequence[Question]) -> tuple[Question, ...]:
    # One of a CPU that is there, and one of another; SP has as many values as a page has multiples of 16.
    return tuple(dict.fromkeys(questions[-2:]))


def _maps(nr_cpus: int) -> list[tuple[int | None, ...]]:
    rows = product((None, *_HWIDS), repeat=min(nr_cpus, 2))
    return [row for row in rows if len(set(row)) == len(row) or row == (None, None)]


def _fits(built: BuiltLookup, question: Question) -> bool:
    try:
        built.expected(question.logical_map, [question.mpidr])
    except DoesNotFit:
        return False
    return True
