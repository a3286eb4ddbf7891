"""A proof about a look-up, or counterexamples to it: z3 proposes them, the emulator judges each.

Only this module and those of :mod:`emu.lookup.prove` need z3, which is an extra.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from emu.arch.mpidr import RES1
from emu.errors import AssemblyError, InvalidCase, Untestable
from emu.fuzz.built_lookup import BuiltLookup, Checked, UnderTest
from emu.fuzz.phases import cause
from emu.fuzz.search import LookupSearch
from emu.fuzz.shrink import shrink
from emu.lookup.case import EVERY, LEAST, Question
from emu.lookup.starts import changes_of
from emu.lookup.tables import DoesNotFit

if TYPE_CHECKING:
    from emu.lookup.prove.asking import Counts
    from emu.lookup.prove.induction import Induction
    from emu.lookup.prove.paths import Loop, Paths
    from emu.lookup.prove.walk import Proposal

CPUS_MAX = 64  # of a proof
_CAUSES_MAX = 8
_SMALL_MAX = 4  # NR_CPUS of a proof beside a search
_PASSED_MAX = 512  # entries that such a proof passes over
_EFFORT_QUICK = 1500  # instructions and questions of an induction beside a search: up to some seconds
_NO_INDUCTION = "no inductive argument: "
_PROPOSALS_MAX = 64  # of one NR_CPUS: those of known causes are judged too


@dataclass(frozen=True, slots=True)
class Proved:
    """One part of a proof.

    :ivar nr_cpus: NR_CPUS that it holds at
    :ivar cpus: it holds for maps of so many CPUs at most, numbered below that
    :ivar loops: that were gone through by induction
    """

    nr_cpus: int
    cpus: int
    counts: Counts
    loops: tuple[Loop, ...] = ()


@dataclass(slots=True)
class Proof:
    """What is proved so far, and what is refuted.

    :ivar cpus_max: maps have so many CPUs at most; EVERY: as many as NR_CPUS, by induction
    :ivar proved: at these values of NR_CPUS, in order
    :ivar found: a judged counterexample of each cause
    :ivar why: why it cannot be proved or refuted, in words; nothing: it is
    :ivar unknown: VA and word (u32) of an instruction without semantics, when that is why
    :ivar at: NR_CPUS under way
    :ivar effort_max: instructions and questions to z3 after which it is given up; None: no such bound
    """

    under_test: UnderTest
    cpus_max: int
    proved: list[Proved] = field(default_factory=list)
    found: dict[tuple[str, str], Checked] = field(default_factory=dict)
    why: str = ""
    unknown: tuple[int, int] | None = None
    at: int = 0
    effort_max: int | None = None

    @property
    def findings(self) -> list[Checked]:
        """A judged counterexample of each cause."""
        return list({id(checked): checked for checked in self.found.values()}.values())

    @property
    def by_induction(self) -> bool:
        """Whether it is by induction over the rounds of loops."""
        return self.cpus_max == EVERY

    def run(self, sizes: Sequence[int], *, quick: bool = False) -> Iterator[None]:
        """Prove at each of ``sizes`` (NR_CPUS), ascending, up to the first with a counterexample.

        By induction, those for which the text does not assemble are left out.

        :param quick: give up early (:class:`emu.lookup.prove.solver.Solver`)
        :raises EmuError: the look-up cannot be built so
        """
        for nr_cpus in sizes:
            self.at = nr_cpus
            try:
                built = self.under_test.at(nr_cpus)
            except AssemblyError as error:
                if not self.by_induction or (nr_cpus == sizes[-1] and not self.proved):
                    raise
                self.under_test.refused[nr_cpus] = str(error)
                continue
            yield from self._prove(built, quick)
            if self.found or self.why:
                return

    def _prove(self, built: BuiltLookup, quick: bool = False) -> Iterator[None]:
        # With the tables where the search has them, and where they are not aligned better than is granted.
        cpus = built.nr_cpus if self.by_induction else min(self.cpus_max, built.nr_cpus)
        parts = [built]
        if built.target.better_aligned:
            parts.append(self.under_test.at(built.nr_cpus, (LEAST,)))
        counts: list[Counts] = []
        loops: tuple[Loop, ...] = ()
        for part in parts:
            paths = yield from self._prove_placed(part, cpus, quick)
            if paths is None or self.found or self.why:
                return
            counts.append(paths.counts)
            loops = tuple(paths.loops)
        self.proved.append(Proved(built.nr_cpus, cpus, sum(counts[1:], start=counts[0]), loops))

    def _prove_placed(
        self, built: BuiltLookup, cpus: int, quick: bool
    ) -> Generator[None, None, Paths | Induction | None]:
        # What was gone through; None: not all of it.
        from emu.lookup.prove.asking import CannotProve

        paths: Paths | Induction | None = None
        proposals = 0
        try:
            paths = self._paths(built, cpus, quick)
            for proposal in paths.run():
                if proposal is not None:
                    proposals += 1
                    self._judge(built, proposal)
                if len(self.found) >= _CAUSES_MAX or proposals >= _PROPOSALS_MAX:
                    return None
                if self._is_too_long(paths.counts):
                    self.why = "more work than is quickly done"
                    return None
                yield
        except CannotProve as reason:
            if not self.found:
                self.why = self.why or f"{_NO_INDUCTION if self.by_induction else ''}{reason}"
                self.unknown = reason.unknown
        except Untestable as reason:
            self.why = str(reason)
        if self.by_induction and self.why and not self.found:
            self._ask_each_entry(built)
        if self.by_induction and self.found:
            self.why = ""  # a wrong answer is the reason
        return paths

    def _is_too_long(self, counts: Counts) -> bool:
        done = [*(each.counts for each in self.proved), counts]
        return self.effort_max is not None and sum(c.steps + c.queries for c in done) > self.effort_max

    def _paths(self, built: BuiltLookup, cpus: int, quick: bool) -> Paths | Induction:
        from emu.lookup.prove.induction import Induction
        from emu.lookup.prove.paths import Paths
        from emu.lookup.prove.solver import begin_anew
        from emu.lookup.prove.world import World

        begin_anew()
        if self.by_induction:
            return Induction(built.target, quick=quick)
        return Paths(built.target, World(built.target, cpus), quick=quick)

    def _ask_each_entry(self, built: BuiltLookup) -> None:
        # What the loops leave open may be wrong for another entry than the solver has chosen.
        hwids = tuple(range(built.nr_cpus))
        mpidrs = [RES1 | hwid for hwid in (*hwids, built.nr_cpus)]
        try:
            wrong = built.wrong_of(hwids, mpidrs)
        except DoesNotFit:
            return
        for place in wrong[:1]:
            self._keep(built.check(Question(hwids, mpidrs[place])))

    def _keep(self, checked: Checked) -> None:
        if checked.wrong is not None and cause(checked) not in self.found:
            smallest = shrink(self.under_test, checked)
            self.found[cause(checked)] = self.found.setdefault(cause(smallest), smallest)

    def _judge(self, built: BuiltLookup, proposal: Proposal) -> None:
        try:
            checked = built.check(proposal.question)
        except DoesNotFit as error:
            self.why = f"a map is proposed that the tables cannot hold ({error}): an error of emu"
            return
        if checked.wrong is None:
            stack = built.target.contract.stack
            checked = built.check_from(proposal.question, changes_of(proposal.start, stack))
        if checked.wrong is None:
            if self.by_induction:
                self.why = (
                    f"{_NO_INDUCTION}what holds before each round of its loops leaves it open that it "
                    f"{proposal.words}; the emulator does not confirm it"
                )
                return
            question = f"mpidr {proposal.question.mpidr:#x} at NR_CPUS={built.nr_cpus}"
            self.why = (
                f"z3 proposes for {question} that it {proposal.words}; the emulator does not confirm it"
            )
            return
        self._keep(checked)


def has_prover() -> bool:
    """Tell whether z3 is installed."""
    return find_spec("z3") is not None


def sizes_to_prove(under_test: UnderTest, cpus: int) -> list[int]:
    """Return the values of NR_CPUS that a proof for ``cpus`` CPUs goes through: all up to that.

    For EVERY, those that the contract goes through.
    Code that is built already has one, and so may a contract: the proof is of the first ``cpus`` places.

    :raises InvalidCase: no number of CPUs that can be proved
    """
    if cpus == EVERY:
        return under_test.sizes
    if not 1 <= cpus <= CPUS_MAX:
        raise InvalidCase(f"prove={cpus}: 1..{CPUS_MAX} CPUs, or all")
    if len(under_test.sizes) == 1:
        return under_test.sizes
    return list(range(1, cpus + 1))


def prove_quickly(search: LookupSearch, sizes: Sequence[int], *, is_usual: bool) -> Iterator[None]:
    """Prove what a search has found nothing in, where that is quickly done; add what is found.

    At the smallest of ``sizes`` (NR_CPUS), and of code that has one NR_CPUS for the first CPUs of its table;
    then by induction, at those that are not proved so for every table.

    :param is_usual: these are the sizes of the contract
    """
    under_test = search.under_test
    kept = [size for size in sizes if size not in under_test.refused]
    small = [size for size in kept if size <= _SMALL_MAX]
    if is_usual and len(sizes) == 1 and sizes[0] <= _PASSED_MAX:
        small = [*kept]
    if search.findings or not has_prover():
        return
    large = [size for size in kept if size > _SMALL_MAX]
    for cpus, some in ((min(_SMALL_MAX, small[-1]) if small else 0, small), (EVERY, large)):
        if not some or search.findings:
            continue
        proof = Proof(under_test, cpus, effort_max=_EFFORT_QUICK if cpus == EVERY else None)
        search.proofs.append(proof)
        yield from proof.run(some, quick=True)
        for key, checked in proof.found.items():
            search.found.setdefault(key, checked)
