"""Which instructions of a look-up are executed by questions, how often, and which ways its branches go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from emu.arch import a64
from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.built_lookup import BuiltLookup
from emu.fuzz.learned import learned_mpidrs
from emu.fuzz.questions import random_map, random_mpidrs
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.case import Question
from emu.lookup.constants import code_words
from emu.lookup.corpus import situations
from emu.lookup.models import get_model
from emu.lookup.single import Short
from emu.lookup.tables import DoesNotFit

QUESTIONS_MAX = 4_000
_SMALL_MAPS = 12  # of all small ones
_LEARNED = 200
_RANDOM_MAPS, _RANDOM_EACH = 40, 8


@dataclass(frozen=True, slots=True)
class CoveredLine:
    """One instruction.

    :ivar va: its VA
    :ivar word: it (u32)
    :ivar times: it was executed so often
    :ivar taken: of a conditional branch, how often it was taken, and how often not; None: of others
    """

    va: int
    word: int
    times: int
    taken: tuple[int, int] | None = None

    @property
    def missed(self) -> int:
        """Ways out of it that were never gone: 0 to 2 of a conditional branch, else 0."""
        return sum(not ways for ways in self.taken or ())


@dataclass(frozen=True, slots=True)
class Coverage:
    """What questions have executed at one NR_CPUS.

    :ivar questions: how many
    :ivar lines: the instructions from the entry on, by VA
    """

    nr_cpus: int
    questions: int
    lines: tuple[CoveredLine, ...]

    @property
    def executed(self) -> int:
        """Instructions that were executed."""
        return sum(bool(line.times) for line in self.lines)

    @property
    def ways(self) -> tuple[int, int]:
        """Ways of conditional branches that were gone, and all that there are."""
        branches = [line for line in self.lines if line.taken is not None]
        return 2 * len(branches) - sum(line.missed for line in branches), 2 * len(branches)


class _Edges(set[tuple[int, int]]):
    # Counts what the engine adds.

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[int, int]] = Counter()
        self.last = 0

    def add(self, edge: tuple[int, int]) -> None:
        self.counts[edge] += 1
        self.last = edge[1]


def cover(built: BuiltLookup, questions: Iterable[Question]) -> Coverage:
    """Ask each question, from one start after the other, and count.

    Maps that the tables cannot hold are left out.
    """
    edges, ends, asked = _Edges(), Counter[tuple[int, int]](), 0
    engine = built.single.engine
    engine.collect_edges(edges)
    try:
        for question in questions:
            try:
                checked = built.check(question, thoroughly=False, turn=asked)
            except DoesNotFit:
                continue
            asked += 1
            if checked.answer.short is not Short.LIMIT:
                ends[edges.last, checked.answer.pc] += 1
    finally:
        engine.collect_edges(None)
    return Coverage(built.nr_cpus, asked, tuple(_lines(built, edges.counts, ends)))


def usual_questions(built: BuiltLookup) -> Iterator[Question]:
    """Yield questions of all kinds that a search asks: small, learned from the code, situations, random."""
    empty = (None,) * built.nr_cpus
    maps = list(small_maps(built.nr_cpus))
    for logical_map in maps[:: max(1, len(maps) // _SMALL_MAPS)]:
        yield from (Question(logical_map, mpidr) for mpidr in MPIDRS)
    for mpidr in learned_mpidrs(built)[:_LEARNED]:
        yield Question(empty, mpidr)
        yield Question((mpidr & MPIDR_HWID_BITMASK, *empty[1:]), mpidr)
    literal = get_model(built.target.contract.model).literal
    for situation in situations(built.nr_cpus, unused=built.unused, literal=True):
        if literal or not situation.literal:
            yield from (Question(situation.logical_map, mpidr) for mpidr in situation.mpidrs)
    rng = Random(0)
    for _ in range(_RANDOM_MAPS):
        logical_map = random_map(rng, built.nr_cpus)
        for mpidr in random_mpidrs(rng, logical_map, _RANDOM_EACH, 75):
            yield Question(logical_map, mpidr)


def _lines(
    built: BuiltLookup, edges: Counter[tuple[int, int]], ends: Counter[tuple[int, int]]
) -> Iterator[CoveredLine]:
    # A block goes on from its first instruction to the one before another block, or to where a run ended.
    offset = built.target.subject.va_offset
    words = dict(code_words(built.target))
    times: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    leaving: dict[int, Counter[int]] = {}
    for (source, to), count in [*edges.items(), *ends.items()]:
        if source:
            leaving.setdefault(source, Counter())[to] += count
    for source, to_where in leaving.items():
        for to, count in to_where.items():
            pc = source
            while pc in words and pc != to:
                times[pc] += count
                if a64.is_branch(words[pc]):
                    target = a64.branch_target(words[pc], pc)
                    taken[pc] += count * (target == to and to != pc + 4)
                    break
                pc += 4
    for pc, word in sorted(words.items()):
        is_conditional = a64.branch_target(word, pc) is not None and word >> 26 != 5
        ways = (taken[pc], times[pc] - taken[pc]) if is_conditional else None
        yield CoveredLine((pc + offset) % 2**64, word, times[pc], ways)
