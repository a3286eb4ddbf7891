"""The search for a wrong answer: every small question, the regression corpus, then random ones.

A search is a generator: it yields after each batch, so that its caller can show progress, stop it, or save
the findings so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.fuzz.built_lookup import BuiltLookup, Checked, UnderTest
from emu.fuzz.learned import learned_mpidrs
from emu.fuzz.left_out import Key, LeftOut
from emu.fuzz.questions import random_map, random_mpidrs
from emu.fuzz.race import Race, table_of
from emu.fuzz.shrink import shrink
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.case import Question
from emu.lookup.corpus import situations
from emu.lookup.models import get_model
from emu.lookup.tables import DoesNotFit, shape_of

if TYPE_CHECKING:
    from emu.fuzz.proof import Proof

_LEARNED_MAX = 300  # questions of constants of the code that are asked with a map of their own
BATCH, _BATCH_MIN = 4096, 256  # questions about one map; of a small one there are more maps
RACES = 300  # runs in which the table changes
SMALL_MAX = 3  # NR_CPUS up to which every small question is asked
_LOOKED_AT = 1  # questions of a batch that are asked again one by one, with every promise checked
_WHOLE_LOOK_MAX = 256  # NR_CPUS up to which a quarter of the regression corpus is, too
_CAUSES_MAX = 8
_REPEATS_MAX = 8  # maps in a row, in one phase at one NR_CPUS, that show only what is known, before the next
_MISFITS_MAX = 1000  # random maps in a row that the tables cannot hold


@dataclass(slots=True)
class LookupSearch:
    """A search and its findings so far.

    :ivar cases: questions asked
    :ivar found: smallest question of each cause, in the order of discovery
    :ivar phase: "small", "learned", "regression", "random", "concurrent"
    :ivar proof: what is proved beside it (:func:`emu.fuzz.proof.prove_small`)
    :ivar left_out: how many cases were not asked, by phase and reason
    """

    under_test: UnderTest
    cases: int = 0
    found: dict[tuple[str, str], Checked] = field(default_factory=dict)
    phase: str = ""
    left_out: Counter[Key] = field(default_factory=Counter)
    proof: Proof | None = None
    _turn: int = 0  # questions asked one by one: each with another start
    _repeats: int = 0  # maps with wrong answers since the last new cause, or since the phase or NR_CPUS began

    @property
    def findings(self) -> list[Checked]:
        """The smallest question of each cause."""
        return list({id(checked): checked for checked in self.found.values()}.values())

    def run(self, sizes: Sequence[int], cases: int, seed: int, matches: int = 75) -> Iterator[None]:
        """Search at these values of NR_CPUS until ``cases`` random questions have been asked.

        :raises AssemblyError: the text assembles for none of them
        """
        lookups = self.under_test.build_all(sizes)
        for phase, steps in (
            ("small", self._small(lookups)),
            ("learned", self._learned(lookups)),
            ("regression", self._regression(lookups)),
            ("random", self.random(lookups, cases, seed, matches)),
            ("concurrent", self._concurrent(lookups, seed)),
        ):
            self.phase = phase
            yield from steps

    def _small(self, lookups: Sequence[BuiltLookup]) -> Iterator[None]:
        for built in lookups:
            self._repeats = 0
            if built.nr_cpus <= SMALL_MAX:
                for number, logical_map in enumerate(small_maps(built.nr_cpus)):
                    closely = range(0, len(MPIDRS), 9) if number < 8 else ()
                    if self._ask_unless_done(built, logical_map, MPIDRS, closely):
                        yield

    def _learned(self, lookups: Sequence[BuiltLookup]) -> Iterator[None]:
        # Those that ask are not in the map, then are its first CPU, its last, and others are beside them.
        for built in lookups:
            self._repeats = 0
            if built.others or not (mpidrs := learned_mpidrs(built.target)):
                continue
            empty = (None,) * built.nr_cpus
            if self._ask_unless_done(built, empty, mpidrs, ()):
                yield
            for mpidr in mpidrs[:_LEARNED_MAX]:
                hwid, rest = mpidr & MPIDR_HWID_BITMASK, empty[1:]
                for logical_map in ((hwid, *rest), (*rest, hwid)):
                    if self._ask_unless_done(built, logical_map, [mpidr, RES1 | hwid ^ 1], ()):
                        yield

    def _regression(self, lookups: Sequence[BuiltLookup]) -> Iterator[None]:
        literal = get_model(self.under_test.contract.model).literal
        for built in lookups:
            self._repeats = 0
            unused = sorted(
                {shape_of(t, built.target.defines).unused for t in self.under_test.contract.tables}
            )
            for situation in situations(built.nr_cpus, unused=unused, literal=True):
                mpidrs = situation.mpidrs
                if situation.literal and not literal:
                    self.leave_out(LeftOut.RULED_OUT, len(mpidrs))
                    continue
                whole = built.nr_cpus <= _WHOLE_LOOK_MAX
                closely = range(0, len(mpidrs), 4) if whole else range(min(2, len(mpidrs)))
                if self._ask_unless_done(built, built.whole(situation.logical_map), mpidrs, closely):
                    yield

    def random(self, lookups: Sequence[BuiltLookup], cases: int, seed: int, matches: int) -> Iterator[None]:
        """Ask ``cases`` random questions, ``matches`` percent of them about CPUs in the map.

        Fewer when they show only known findings. Maps that the tables cannot hold do not count, unless there
        are no others.
        """
        rng = Random(seed)
        misfits = 0  # one after the other
        self._repeats = 0
        while cases > 0:
            why = LeftOut.MISFIT if misfits >= _MISFITS_MAX else self._why_done()
            if why is not None:
                self.leave_out(why, cases)
                return
            built = rng.choice(lookups)
            logical_map = random_map(rng, built.nr_cpus)
            size = _BATCH_MIN if self.found else min(BATCH, max(_BATCH_MIN, 16 * built.nr_cpus))
            mpidrs = random_mpidrs(rng, logical_map, min(cases, size), matches)
            if self._ask(built, logical_map, mpidrs, range(min(_LOOKED_AT, len(mpidrs)))):
                cases -= len(mpidrs)
                misfits = 0
            else:
                misfits += 1
            yield

    def _concurrent(self, lookups: Sequence[BuiltLookup], seed: int) -> Iterator[None]:
        # At the smallest NR_CPUS with room for a change beside the one that asks.
        fit = [built for built in lookups if table_of(built) is not None]
        larger = [built for built in fit if built.nr_cpus > 1]
        why: LeftOut | None = None
        if not fit:
            why = LeftOut.NO_ENTRIES
        elif not larger:
            why = LeftOut.ALONE
        elif any(prop in ("answer", "exit") for prop, _how in self.found):
            why = LeftOut.WRONG_AT_REST  # what is wrong while nothing changes need not be found again
        if why is not None:
            self.leave_out(why, RACES)
            return
        race = Race(larger[0])
        for number in range(RACES):
            why = self._why_done(repeats=False)
            if why is not None:
                self.leave_out(why, RACES - number)
                return
            try:
                checked = race.run(seed * RACES + number)
            except DoesNotFit:
                self.leave_out(LeftOut.MISFIT, 1)
                continue
            self.cases += 1
            if checked.wrong is not None:
                self.found.setdefault(cause(checked), checked)
            yield

    @property
    def raced(self) -> bool:
        """Whether the table changed in a run, which a seed has to do with too."""
        return sum(count for (phase, _), count in self.left_out.items() if phase == "concurrent") < RACES

    def leave_out(self, why: LeftOut, cases: int) -> None:
        """Count ``cases`` cases of the current phase as left out."""
        if cases:
            self.left_out[self.phase, why] += cases

    def _why_done(self, *, repeats: bool = True) -> LeftOut | None:
        # The reason to stop: the search, or this NR_CPUS in this phase; None: go on.
        if len(self.found) >= _CAUSES_MAX and len(self.findings) >= _CAUSES_MAX:
            return LeftOut.ENOUGH
        return LeftOut.KNOWN if repeats and self._repeats >= _REPEATS_MAX else None

    def _ask_unless_done(
        self,
        built: BuiltLookup,
        logical_map: Sequence[int | None],
        mpidrs: Sequence[int],
        closely: Sequence[int],
    ) -> bool:
        # Call _ask() unless the search is done; return whether it was called. Counts what is left out.
        why = self._why_done()
        if why is not None:
            self.leave_out(why, len(mpidrs))
        elif not self._ask(built, logical_map, mpidrs, closely):
            self.leave_out(LeftOut.MISFIT, len(mpidrs))
        return why is None

    def _ask(
        self,
        built: BuiltLookup,
        logical_map: Sequence[int | None],
        mpidrs: Sequence[int],
        closely: Sequence[int],
    ) -> bool:
        # Ask in a batch; then the wrong ones and those of `closely` one by one. False: the map does not fit.
        try:
            wrong = built.wrong_of(logical_map, mpidrs)
        except DoesNotFit:
            return False
        unasked = built.batch.unasked
        self.leave_out(LeftOut.HANGS, unasked)
        self.cases += len(mpidrs) - unasked
        known = len(self.found)
        again = wrong[: 4 if known else 16]
        self.leave_out(LeftOut.ALIKE, len(wrong) - len(again))
        for place in (*again, *closely):
            self._check(built, Question(tuple(logical_map), mpidrs[place]), place in wrong)
        if known:
            self._repeats = 0 if len(self.found) > known else self._repeats + bool(wrong)
        return True

    def _check(self, built: BuiltLookup, question: Question, wrong: bool) -> None:
        checked = built.check(question, thoroughly=wrong, turn=self._turn)
        self._turn += 1
        if checked.wrong is not None and not wrong:
            checked = built.check(question)  # as it is told, and asked again
        self.cases += 1
        if wrong and checked.wrong is None:  # the batch may have timed out on a busy host: ask again
            assert not built.wrong_of(question.logical_map, [question.mpidr]), f"{question}: only in a batch"
        self.add(checked)

    def add(self, checked: Checked) -> None:
        """Keep a wrong answer of a new cause, shrunk; ignore other answers."""
        if checked.wrong is not None and cause(checked) not in self.found:
            smallest = shrink(self.under_test, checked)
            self.found[cause(checked)] = self.found.setdefault(cause(smallest), smallest)


def cause(checked: Checked) -> tuple[str, str]:
    """Return what identifies the cause of a wrong answer: the property, and what tells it from others."""
    assert checked.wrong is not None
    if checked.race is not None:
        return checked.wrong.prop, checked.answer.exit
    return checked.wrong.prop, checked.wrong.cause
