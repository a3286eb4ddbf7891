"""The phases of a search for a wrong answer, each a generator that asks about one map after the other.

Nothing is shrunk here: what a phase asks, counts and meets follows from its arguments and from the causes
that are known when it begins. So a search can be cut into pieces that run anywhere (:mod:`emu.fuzz.pieces`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.fuzz.again import questions_again
from emu.fuzz.built_lookup import BuiltLookup, Checked, Point, UnderTest
from emu.fuzz.compares import compared
from emu.fuzz.learned import learned_mpidrs
from emu.fuzz.left_out import Key, LeftOut
from emu.fuzz.questions import random_map, random_mpidrs
from emu.fuzz.race import Race, table_of
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.case import Question
from emu.lookup.corpus import situations
from emu.lookup.models import get_model
from emu.lookup.tables import DoesNotFit

_LEARNED_CLOSELY = 32  # learned questions that are asked again one by one too: the first, which compares make
_LEARNED_MAX = 300  # hwids of constants of the code that are in a map too
BATCH, _BATCH_MIN = 4096, 1024  # questions about one map; of a small one there are more maps
_BATCH_KNOWN = 256  # of them, where something is found already, and one of the last maps shows it
_RIGHT_MAX = 4  # maps in a row without a wrong answer, after which that is over
RACES = 300  # runs in which the table changes
SMALL_MAX = 3  # NR_CPUS up to which every small question is asked
_LOOKED_AT = 1  # questions of a batch that are asked again one by one, with every promise checked
WHOLE_LOOK_MAX = 256  # NR_CPUS up to which a quarter of the regression corpus is, too
CAUSES_MAX = 8
_REPEATS_MAX = 8  # maps in a row, in one phase at one NR_CPUS, that show only what is known, before the next
_MISFITS_MAX = 1000  # random maps in a row that the tables cannot hold

Cause = tuple[str, str]  # the property, and what tells it from other causes


@dataclass(slots=True)
class Phases:
    """What asks.

    :ivar phase: the phase under which left out cases are counted
    :ivar known: causes that are known: before it began, and met since
    :ivar causes: how many findings they are
    :ivar closed: why nothing more is asked; None: it is. What would be asked is counted as left out
    :ivar cases: questions asked
    :ivar left_out: how many cases were not asked, by phase and reason
    :ivar met: the first wrong answer of each cause that was not known, as it was met
    :ivar over: why the phase is over at this NR_CPUS before its end; None: it is not
    """

    under_test: UnderTest
    phase: str = ""
    known: set[Cause] = field(default_factory=set)
    causes: int = 0
    closed: LeftOut | None = None
    cases: int = 0
    left_out: Counter[Key] = field(default_factory=Counter)
    met: list[Checked] = field(default_factory=list)
    over: LeftOut | None = None
    _turn: int = 0  # questions asked one by one: each with another start
    _right: int = 0  # maps in a row without a wrong answer
    _repeats: int = 0  # maps with wrong answers since the last new cause, or since the phase or NR_CPUS began

    def small(self, built: BuiltLookup) -> Iterator[None]:
        """Ask every small question at this NR_CPUS, where it is small."""
        self._repeats = 0
        if built.nr_cpus <= SMALL_MAX:
            for number, logical_map in enumerate(small_maps(built.nr_cpus)):
                closely = range(0, len(MPIDRS), 9) if number < 8 else ()
                if self._ask_unless_done(built, logical_map, MPIDRS, closely):
                    yield

    def learned(self, lookups: Sequence[BuiltLookup]) -> Iterator[None]:
        """Ask what constants of the code make, and its compares, at several NR_CPUS for which it is the same.

        What is compared at the first of them and at the last is asked at all of them.
        """
        met = [compared(built) for built in dict.fromkeys((lookups[0], lookups[-1]))]
        for built in lookups:
            yield from self._learned(built, learned_mpidrs(built, met))

    def _learned(self, built: BuiltLookup, mpidrs: Sequence[int]) -> Iterator[None]:
        # Those that ask are not in the map, then are its first CPUs, then its last, others beside them.
        self._repeats = 0
        if not mpidrs:
            return
        closely: Sequence[int] = range(min(len(mpidrs), _LEARNED_CLOSELY))
        if self._ask_unless_done(built, (None,) * built.nr_cpus, mpidrs, closely):
            yield
        first: dict[int, int] = {}  # of each hwid the first that asks so
        for mpidr in mpidrs:
            first.setdefault(mpidr & MPIDR_HWID_BITMASK, mpidr)
        hwids = list(first)[:_LEARNED_MAX]
        size = max(1, built.nr_cpus // 2)  # with as many holes, so that none is in the same place twice
        for start in range(0, len(hwids), size):
            some = hwids[start : start + size]
            asks = [mpidr for hwid in some for mpidr in (first[hwid], RES1 | hwid ^ 1)]
            holes: tuple[None, ...] = (None,) * (built.nr_cpus - len(some))
            closely = range(min(len(asks), _LEARNED_CLOSELY // 4)) if start < _LEARNED_CLOSELY else ()
            for logical_map in dict.fromkeys(((*some, *holes), (*holes, *some))):
                if self._ask_unless_done(built, logical_map, asks, closely):
                    yield

    def again(self, built: BuiltLookup) -> Iterator[None]:
        """Ask small questions from what others have left (:mod:`emu.fuzz.again`), while all is right."""
        for question, begin in questions_again(built):
            why = self.why_done(repeats=False)
            if why is not None:
                self.leave_out(why, 1)
                continue
            self.cases += 1
            checked = built.check_from(question, begin)
            if checked.wrong is not None:
                usual = built.check(question)  # what is wrong from any start has nothing to do with it
                self.meet(checked if usual.wrong is None else usual)
            yield

    def regression(self, built: BuiltLookup, part: int = 0, parts: int = 1) -> Iterator[None]:
        """Go through the regression corpus at this NR_CPUS, or through one of ``parts`` of it."""
        literal = get_model(self.under_test.contract.model).literal
        self._repeats = 0
        whole = built.nr_cpus <= WHOLE_LOOK_MAX
        for situation in islice(
            situations(built.nr_cpus, unused=built.unused, literal=True), part, None, parts
        ):
            mpidrs = situation.mpidrs
            if situation.literal and not literal:
                self.leave_out(LeftOut.RULED_OUT, len(mpidrs))
                continue
            closely = range(0, len(mpidrs), 4) if whole else range(min(2, len(mpidrs)))
            if self._ask_unless_done(built, built.whole(situation.logical_map), mpidrs, closely):
                yield

    def random(self, lookups: Sequence[BuiltLookup], cases: int, rng: Random, matches: int) -> Iterator[None]:
        """Ask ``cases`` random questions, ``matches`` percent of them about CPUs in the map.

        Fewer when they show only known findings. Maps that the tables cannot hold do not count, unless there
        are no others.
        """
        misfits = 0  # one after the other
        self._repeats = 0
        while cases > 0:
            why = self.why_done() or (LeftOut.MISFIT if misfits >= _MISFITS_MAX else None)
            if why is not None:
                self.over = why
                self.leave_out(why, cases)
                return
            built = rng.choice(lookups)
            logical_map = random_map(rng, built.nr_cpus)
            shows = bool(self.known) and self._right < _RIGHT_MAX
            size = _BATCH_KNOWN if shows else min(BATCH, max(_BATCH_MIN, 16 * built.nr_cpus))
            mpidrs = random_mpidrs(rng, logical_map, min(cases, size), matches)
            if self.ask(built, logical_map, mpidrs, range(min(_LOOKED_AT, len(mpidrs)))):
                cases -= len(mpidrs)
                misfits = 0
            else:
                misfits += 1
            yield

    def concurrent(self, lookups: Sequence[BuiltLookup], seed: int) -> Iterator[None]:
        """Let the table change, at the smallest NR_CPUS with room for a change beside the one that asks."""
        fit = [built for built in lookups if table_of(built) is not None]
        larger = [built for built in fit if built.nr_cpus > 1]
        why: LeftOut | None = None
        if not fit:
            why = LeftOut.NO_ENTRIES
        elif not larger:
            why = LeftOut.ALONE
        elif any(prop in ("answer", "exit") for prop, _how in self.known):
            why = LeftOut.WRONG_AT_REST  # what is wrong while nothing changes need not be found again
        if why is not None:
            self.leave_out(why, RACES)
            return
        race = Race(larger[0])
        yield from self.torn(race)
        for number in range(RACES):
            why = self.why_done(repeats=False)
            if why is not None:
                self.leave_out(why, RACES - number)
                return
            try:
                checked = race.run(seed * RACES + number)
            except DoesNotFit:
                self.leave_out(LeftOut.MISFIT, 1)
                continue
            self.cases += 1
            self.meet(checked)
            yield

    def torn(self, race: Race) -> Iterator[None]:
        """Let an entry change at each place within the look-up's reads of it."""
        try:
            for tear in race.tears():
                if self.why_done(repeats=False) is not None:
                    return
                checked = race.run(tear)
                self.cases += 1
                self.meet(checked)
                yield
        except DoesNotFit:
            self.leave_out(LeftOut.MISFIT, 1)

    def leave_out(self, why: LeftOut, cases: int) -> None:
        """Count ``cases`` cases of the current phase as left out."""
        if cases:
            self.left_out[self.phase, why] += cases

    def why_done(self, *, repeats: bool = True) -> LeftOut | None:
        """Return the reason to stop: the search, or this NR_CPUS in this phase; None: go on."""
        if self.closed is not None:
            return self.closed
        if self.causes >= CAUSES_MAX:
            return LeftOut.ENOUGH
        return LeftOut.KNOWN if repeats and self._repeats >= _REPEATS_MAX else None

    def _ask_unless_done(
        self,
        built: BuiltLookup,
        logical_map: Sequence[int | None],
        mpidrs: Sequence[int],
        closely: Sequence[int],
    ) -> bool:
        # Call ask() unless the search is done; return whether it was called. Counts what is left out.
        why = self.why_done()
        if why is not None:
            self.over = why
            self.leave_out(why, len(mpidrs))
        elif not self.ask(built, logical_map, mpidrs, closely):
            self.leave_out(LeftOut.MISFIT, len(mpidrs))
        return why is None

    def ask(
        self,
        built: BuiltLookup,
        logical_map: Sequence[int | None],
        mpidrs: Sequence[int],
        closely: Sequence[int],
    ) -> bool:
        """Ask in a batch; then the wrong ones and those of ``closely`` one by one.

        :return: False: the tables cannot hold the map
        """
        try:
            wrong = built.wrong_of(logical_map, mpidrs)
        except DoesNotFit:
            return False
        unasked = built.batch.unasked
        self.leave_out(LeftOut.HANGS, unasked)
        self.cases += len(mpidrs) - unasked
        known = len(self.known)
        again = wrong[: 4 if known else 16]
        self.leave_out(LeftOut.ALIKE, len(wrong) - len(again))
        for place in (*again, *closely):
            before = mpidrs[place - 1] if place else None
            self.check(built, Question(tuple(logical_map), mpidrs[place]), place in wrong, before)
        self._right = 0 if wrong else self._right + 1
        if known:
            self._repeats = 0 if len(self.known) > known else self._repeats + bool(wrong)
        return True

    def check(self, built: BuiltLookup, question: Question, wrong: bool, before: int | None = None) -> None:
        """Ask one question by itself.

        :param wrong: the batch had a wrong answer
        :param before: MPIDR_EL1 (u64) that was asked before it there: the stack is what that has left
        """
        checked = built.check(question, thoroughly=wrong, turn=self._turn, before=before)
        self._turn += 1
        if checked.wrong is not None and not wrong:
            checked = built.check(question)  # as it is told, and asked again
        self.cases += 1
        if wrong and checked.wrong is None:  # the batch may have timed out on a busy host: ask again
            assert not built.wrong_of(question.logical_map, [question.mpidr]), f"{question}: only in a batch"
        self.meet(checked)

    def meet(self, checked: Checked) -> None:
        """Keep a wrong answer of a new cause; ignore other answers."""
        if checked.wrong is not None and (met := cause(checked)) not in self.known:
            self.known.add(met)
            self.causes += 1
            self.met.append(checked)


def cause(checked: Checked) -> Cause:
    """Return what identifies the cause of a wrong answer: the property, and what tells it from others."""
    assert checked.wrong is not None
    if checked.race is not None:
        return checked.wrong.prop, checked.answer.exit
    return checked.wrong.prop, checked.wrong.cause


def again_at(points: Sequence[Point]) -> Point:
    """Return the NR_CPUS at which a look-up is called again: the largest small one, else the smallest."""
    usual = [point for point in points if not point[1]] or list(points)
    small = [point for point in usual if point[0] <= SMALL_MAX]
    return max(small) if small else min(usual)
