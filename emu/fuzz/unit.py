"""A unit of work: some thousand questions, and the result of asking them.

The questions of a unit follow from its number, the campaign's seed and its snapshot. So its result does not
depend on the worker, on the order of units, or on how often the unit is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from emu.errors import AssemblyError, InvalidCase
from emu.fuzz.built_lookup import BuiltLookup, Checked, Others, Point, UnderTest
from emu.fuzz.left_out import LeftOut
from emu.fuzz.mutate import mutated_map, mutated_mpidrs
from emu.fuzz.phases import BATCH, RACES, SMALL_MAX, Phases, again_at, cause
from emu.fuzz.questions import random_map, random_mpidrs
from emu.fuzz.race import Race, table_of
from emu.fuzz.shrink_race import smallest_of
from emu.lookup.case import LookupCase, Question
from emu.lookup.single import Short
from emu.lookup.tables import DoesNotFit
from emu.lookup.tear import Happens

CONCURRENT_EVERY = 8  # one random unit in 8 has a table that changes
_MUTATED = 0.4  # share of mutated batches in a random unit, when there is a corpus
_SHRUNK_MAX = 8  # causes of a unit that are shrunk
_NEAR_LOOK = 4  # questions of a mutated batch that are checked one by one; of other batches 1
_SMALL_LOOK = 64  # small maps that are tried to see whether a lookup is wrong with a constant table

Edge = tuple[int, Others, int, int]  # a point, and two blocks as bytes from the entry
Cause = tuple[str, str, str]  # property, what tells it from others, where it ended


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The findings of earlier units that a unit gets.

    :ivar corpus: some of the questions that reached new edges
    :ivar edges: all edges that were reached
    :ivar causes: cause of a wrong answer before shrinking -> cause of the finding that counts it
    """

    corpus: tuple[LookupCase, ...] = ()
    edges: frozenset[Edge] = frozenset()
    causes: Mapping[Cause, Cause] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit, before it is run.

    :ivar number: from 0
    :ivar kind: "kept": the questions of the snapshot's corpus; "small", "learned" and "regression": all of
        them at ``point``; "again": it is called again; "torn": an entry changes within its read; "random";
        "concurrent": runs in which the table changes
    :ivar cases: random questions; whole batches of 4,096 but for the last
    """

    number: int
    kind: str
    point: Point = (0, ())
    seed: int = 0
    cases: int = 0
    snapshot: Snapshot = Snapshot()

    def run(self, under_test: UnderTest, points: Sequence[Point], matches: int) -> UnitResult:
        """Run it (:func:`run_unit`)."""
        return run_unit(under_test, points, self, matches)

    def lost(self, cause: str, what: str) -> UnitResult:
        """Return its result when its workers die or fail (:func:`broken`)."""
        return broken(self, cause, what)


@dataclass(frozen=True, slots=True)
class Hit:
    """A cause of wrong answers in a unit.

    :ivar cause: the cause before shrinking
    :ivar finding: the cause after shrinking
    :ivar count: questions with this cause
    :ivar message: message of the smallest question; "", with ``case`` None: the snapshot has the finding
    """

    cause: Cause
    finding: Cause
    count: int
    message: str = ""
    case: LookupCase | None = None


@dataclass(frozen=True, slots=True)
class NewEdges:
    """A question that reached edges that the snapshot does not have."""

    case: LookupCase
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """The result of a unit.

    :ivar cases: questions asked
    :ivar left_out: questions left out, by reason
    """

    number: int
    kind: str
    cases: int
    hits: tuple[Hit, ...] = ()
    reached: tuple[NewEdges, ...] = ()
    left_out: tuple[tuple[LeftOut, int], ...] = ()


def broken(unit: Unit, cause: str, what: str) -> UnitResult:
    """Return the result of a unit that could not be run: ``cause`` is a finding, ``what`` says how."""
    found = "worker", cause, ""
    return UnitResult(unit.number, unit.kind, 0, (Hit(found, found, 1, what),))


def opening(points: Sequence[Point]) -> list[Unit]:
    """Return the units that every campaign begins with; unit 0 is there for questions that were kept."""
    found = [Unit(0, "kept")]
    for kind in ("small", "learned", "regression"):
        for point in points:
            nr_cpus, others = point
            if kind == "regression" or (nr_cpus <= SMALL_MAX if kind == "small" else not others):
                found.append(Unit(len(found), kind, point))
    if points:
        found.append(Unit(len(found), "again", again_at(points)))
    return [*found, Unit(len(found), "torn")]


def run_unit(under_test: UnderTest, points: Sequence[Point], unit: Unit, matches: int = 75) -> UnitResult:
    """Ask the questions of a unit.

    :param points: the points that random questions are drawn from
    :param matches: percentage of random MPIDRs that are in the map
    """
    return _Work(under_test, points, unit, matches).result()


def subject_of(under_test: UnderTest, checked: Checked) -> LookupCase:
    """Return the case of a question, without contract and System.map, which the store adds."""
    others, race, begin = checked.others, checked.race, checked.begin
    return LookupCase(
        under_test.name, checked.nr_cpus, checked.question, others=others, race=race, begin=begin
    )


def cause_at(under_test: UnderTest, checked: Checked) -> Cause:
    """Return what identifies a finding: property, what tells it from others, and where the code ended."""
    prop, how = cause(checked)
    if checked.race is not None or checked.answer.short is Short.LIMIT:
        return prop, how, ""  # it ended where the limit, or the other one, found it
    subject = under_test.at(checked.nr_cpus, checked.others).target.subject
    return prop, how, subject.symbols.describe((checked.answer.pc + subject.va_offset) % 2**64)


def key_of(cause: Cause) -> str:
    """Return the key of a finding with this cause: the same in a search, a proof and a campaign."""
    return hashlib.sha256("\0".join(cause).encode()).hexdigest()[:12]


class _Work(Phases):
    # The search of one unit. It collects edges, and counts the causes that the snapshot knows.

    __slots__ = ("_edges", "_hits", "_matches", "_points", "_reached", "_unit")

    def __init__(self, under_test: UnderTest, points: Sequence[Point], unit: Unit, matches: int) -> None:
        super().__init__(under_test)
        self._points = points
        self._unit = unit
        self._matches = matches
        self._edges = set(unit.snapshot.edges)
        self._reached: list[NewEdges] = []
        self._hits: dict[Cause, Hit] = {}

    def result(self) -> UnitResult:
        unit = self._unit
        kinds = {
            "kept": self._kept,
            "small": lambda: _drain(self.small(self._at(unit.point))),
            "learned": lambda: _drain(self.learned([self._at(unit.point)])),
            "again": lambda: _drain(self.again(self._at(unit.point))),
            "torn": self._races,
            "regression": lambda: _drain(self.regression(self._at(unit.point))),
            "random": self._mixed,
            "concurrent": self._races,
        }
        self.phase = unit.kind
        kinds[unit.kind]()
        left_out = tuple((why, count) for (_phase, why), count in self.left_out.items())
        return UnitResult(
            unit.number, unit.kind, self.cases, tuple(self._hits.values()), tuple(self._reached), left_out
        )

    def _at(self, point: Point) -> BuiltLookup:
        return self.under_test.at(*point)

    def _kept(self) -> None:
        for case in self._unit.snapshot.corpus:
            try:
                built = self.under_test.at(case.nr_cpus, case.others)
                if case.begin:
                    self.cases += 1
                    self.meet(built.check_from(case.question, case.begin))
                elif case.race is None:
                    self.check(
                        built, Question(built.whole(case.question.logical_map), case.question.mpidr), False
                    )
                elif table_of(built) is not None:
                    self._race(Race(built), case.race, case.question)
            except (AssemblyError, InvalidCase):  # of what the subject was then
                continue

    def _mixed(self) -> None:
        unit = self._unit
        rng, left = self._rng(), unit.cases
        mpidrs: Sequence[int]
        while left > 0:
            count = min(left, BATCH)
            left -= count
            if unit.snapshot.corpus and rng.random() < _MUTATED:
                built, logical_map, mpidrs = self._mutated(rng, count)
                closely = _NEAR_LOOK
            else:
                built = self._at(rng.choice(self._points))
                logical_map = random_map(rng, built.nr_cpus)
                mpidrs = random_mpidrs(rng, logical_map, count, self._matches)
                closely = 1
            if not self.ask(built, logical_map, mpidrs, range(min(closely, count))):
                self.leave_out(LeftOut.MISFIT, count)

    def _rng(self) -> Random:
        return Random(f"{self._unit.seed}:{self._unit.number}")

    def _mutated(self, rng: Random, count: int) -> tuple[BuiltLookup, tuple[int | None, ...], list[int]]:
        parent = rng.choice(self._unit.snapshot.corpus)
        point = parent.nr_cpus, parent.others
        if point not in self._points or rng.random() < 0.2:
            point = rng.choice(self._points)
        built = self._at(point)
        logical_map = mutated_map(rng, parent.question.logical_map, built.nr_cpus)
        near = mutated_mpidrs(rng, parent.question.mpidr, min(count, 64))
        return (
            built,
            logical_map,
            [*near, *random_mpidrs(rng, logical_map, count - len(near), self._matches)],
        )

    def _races(self) -> None:
        # At the smallest NR_CPUS with room for a change beside the one that asks.
        lookups = [
            built
            for built in map(self._at, self._points)
            if built.nr_cpus > 1 and table_of(built) is not None
        ]
        directed = self._unit.kind == "torn"
        if not lookups:
            if not directed:
                self._mixed()
            return
        _drain(islice(self.small(lookups[0]), _SMALL_LOOK))
        if any(
            prop in ("answer", "exit") for prop, _how, _where in (*self._hits, *self._unit.snapshot.causes)
        ):
            self.leave_out(LeftOut.WRONG_AT_REST, RACES)
            return  # what is wrong while nothing changes need not be found again
        race, rng = Race(lookups[0]), self._rng()
        if directed:
            _drain(self.torn(race))
            return
        for _ in range(RACES):
            self._race(race, rng.getrandbits(40))

    def _race(self, race: Race, run: Happens, question: Question | None = None) -> None:
        try:
            checked = race.run(run, question)
        except DoesNotFit:
            self.leave_out(LeftOut.MISFIT, 1)
            return
        self.cases += 1
        self.meet(checked)

    def meet(self, checked: Checked) -> None:
        """Count a wrong answer; ignore other answers."""
        if checked.wrong is not None:
            self._note(checked)

    def check(self, built: BuiltLookup, question: Question, wrong: bool, before: int | None = None) -> None:
        edges: set[tuple[int, int]] = set()
        built.single.engine.collect_edges(edges)
        try:
            checked = built.check(question, thoroughly=wrong, turn=self.cases, before=before)
            if checked.wrong is not None and not wrong:
                checked = built.check(question)  # as it is told, and asked again
        except DoesNotFit:
            self.leave_out(LeftOut.MISFIT, 1)
            return
        self.cases += 1
        self._note_edges(built, checked, edges)
        self.meet(checked)
        question = checked.question
        if checked.wrong is None and wrong and built.wrong_of(question.logical_map, [question.mpidr]):
            # Twice, so no matter of a busy host, on which a question may have seemed to hang.
            what = "batch", "the batch finds it wrong, the close look does not: an error of emu", ""
            self._count(what, what, what[1], subject_of(self.under_test, checked))

    def _note_edges(self, built: BuiltLookup, checked: Checked, edges: set[tuple[int, int]]) -> None:
        entry = built.target.entry_pa
        new = {
            (built.nr_cpus, built.others, source - entry, target - entry)
            for source, target in edges
            if source
        } - self._edges
        if new:
            self._edges |= new
            self._reached.append(NewEdges(subject_of(self.under_test, checked), tuple(sorted(new))))

    def _note(self, checked: Checked) -> None:
        met = cause_at(self.under_test, checked)
        known = self._unit.snapshot.causes.get(met)
        if met in self._hits:
            self._count(met, self._hits[met].finding)
        elif known is not None:
            self._count(met, known)
        else:
            smallest = checked
            if len(self._hits) < _SHRUNK_MAX:
                smallest = smallest_of(self.under_test, checked)
            assert smallest.wrong is not None
            case = subject_of(self.under_test, smallest)
            self._count(met, cause_at(self.under_test, smallest), smallest.wrong.text, case)

    def _count(self, met: Cause, finding: Cause, message: str = "", case: LookupCase | None = None) -> None:
        old = self._hits.get(met)
        if old is None:
            self._hits[met] = Hit(met, finding, 1, message, case)
        else:
            self._hits[met] = Hit(met, finding, old.count + 1, old.message, old.case)


def _drain(steps: Iterator[None]) -> None:
    for _ in steps:
        pass
