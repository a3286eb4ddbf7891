"""The search for a wrong answer: every small question, the regression corpus, then random ones.

A search is a generator: it yields after each batch, so that its caller can show progress, stop it, or save
the findings so far. It is a row of pieces (:mod:`emu.fuzz.pieces`); what they tell is merged in their order,
so it comes to the same with any number of processes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emu.fuzz.built_lookup import Checked, Point, UnderTest
from emu.fuzz.left_out import Key, LeftOut
from emu.fuzz.phases import CAUSES_MAX, RACES, Cause, cause
from emu.fuzz.pieces import Piece, Told, stages
from emu.fuzz.shrink_race import smallest_of
from emu.fuzz.workers import Processes
from emu.lookup.constants import without_numbers

if TYPE_CHECKING:
    from emu.fuzz.proof import Proof

Hands = Callable[[int], Processes[Told]]  # starts processes for so many pieces
_LONG_SECONDS = 0.8  # of CPU time: a stage that takes no longer is done by this process alone


@dataclass(slots=True)
class LookupSearch:
    """A search and its findings so far.

    :ivar cases: questions asked
    :ivar found: smallest question of each cause, in the order of discovery
    :ivar phase: "small", "learned", "regression", "random", "again", "concurrent"
    :ivar proofs: what is proved beside it (:func:`emu.fuzz.proof.prove_quickly`)
    :ivar left_out: how many cases were not asked, by phase and reason
    """

    under_test: UnderTest
    cases: int = 0
    found: dict[Cause, Checked] = field(default_factory=dict)
    phase: str = ""
    left_out: Counter[Key] = field(default_factory=Counter)
    proofs: list[Proof] = field(default_factory=list)
    _over: dict[tuple[str, tuple[Point, ...]], LeftOut] = field(default_factory=dict)  # phases that ended

    @property
    def findings(self) -> list[Checked]:
        """The smallest question of each cause."""
        return list({id(checked): checked for checked in self.found.values()}.values())

    def run(
        self, sizes: Sequence[int], cases: int, seed: int, matches: int = 75, hands: Hands | None = None
    ) -> Iterator[None]:
        """Search at these values of NR_CPUS until ``cases`` random questions have been asked.

        :param hands: starts processes that share the work when it is long; None: this one does it
        :raises AssemblyError: the text assembles for none of them
        :raises EmuError: it cannot be tested
        """
        points = [(built.nr_cpus, built.others) for built in self.under_test.build_all(sizes)]
        alike: dict[tuple[int, ...], list[Point]] = {}
        for point in points:
            if not point[1]:
                alike.setdefault(without_numbers(self.under_test.at(*point).target), []).append(point)
        row = stages(points, cases, seed, matches, list(alike.values()))
        shared = [stage for stage in row if sum(piece.seconds for piece in stage) > _LONG_SECONDS]
        if hands is None:
            shared = []
        processes: Processes[Told] | None = None
        try:
            for stage in row:
                self.phase = stage[0].phase
                known = frozenset(self.found)
                pieces = [replace(piece, known=known, causes=len(self.findings)) for piece in stage]
                alone = deque(pieces)
                # Where something is found already, most pieces end soon: they are not worth a process.
                while alone and (stage not in shared or self.found):
                    piece = alone.popleft()
                    yield from self._merge([(piece, piece.steps(self.under_test))])
                    if self.phase == "random" and stage in shared and self._why_not(piece) is None:
                        break
                if alone:
                    assert hands is not None
                    processes = processes or hands(max(map(len, shared)))
                    yield from self._merge(self._handed_out(alone, processes))
        finally:
            if processes is not None:
                processes.close()

    def _handed_out(
        self, pieces: Sequence[Piece], processes: Processes[Told]
    ) -> Iterator[tuple[Piece, Iterable[Told]]]:
        # Each piece and what is told of it, in order. What is not wanted any more is not handed out.
        told: dict[int, Told] = {}
        waiting = iter(pieces)
        out: set[int] = set()

        def hand_out() -> None:
            while len(out) < processes.slots and (piece := next(waiting, None)) is not None:
                if self._why_not(piece) is None:
                    processes.submit(piece)
                    out.add(piece.number)

        for piece in pieces:
            hand_out()
            while piece.number in out:
                result = processes.wait()
                told[result.number] = result
                out.discard(result.number)
                hand_out()
            yield piece, [told.pop(piece.number, Told(piece.number))]

    def _merge(self, row: Iterable[tuple[Piece, Iterable[Told]]]) -> Iterator[None]:
        # What the search has found decides whether a piece counts; else all of it is left out.
        for piece, steps in row:
            why = self._why_not(piece)
            over = None
            for told in steps if why is None else replace(piece, closed=why).steps(self.under_test):
                self.cases += told.cases
                self.left_out.update(dict(told.left_out))
                for checked in told.met:
                    self.add(checked)
                if told.error is not None:
                    raise told.error
                over = told.over
                yield
            if over in (LeftOut.KNOWN, LeftOut.MISFIT):
                self._over[piece.phase, piece.points] = over

    def _why_not(self, piece: Piece) -> LeftOut | None:
        # Why a piece asks nothing: enough is found, or the phase is over at its NR_CPUS.
        if len(self.findings) >= CAUSES_MAX:
            return LeftOut.ENOUGH
        return self._over.get((piece.phase, piece.points))

    @property
    def raced(self) -> bool:
        """Whether the table changed in a run, which a seed has to do with too."""
        return sum(count for (phase, _), count in self.left_out.items() if phase == "concurrent") < RACES

    def add(self, checked: Checked) -> None:
        """Keep a wrong answer of a new cause, shrunk; ignore other answers."""
        if checked.wrong is not None and cause(checked) not in self.found:
            smallest = smallest_of(self.under_test, checked)
            self.found[cause(checked)] = self.found.setdefault(cause(smallest), smallest)
