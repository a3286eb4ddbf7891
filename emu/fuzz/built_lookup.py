"""A lookup under test, built for each NR_CPUS: asked one question at a time or in batches, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.arch.boot import NR_CPUS_MAX
from emu.designs import DESIGNS
from emu.errors import AssemblyError, InvalidCase
from emu.lookup.batch import Batch
from emu.lookup.case import LEAST, Question
from emu.lookup.conditions import sizes_of_conditions
from emu.lookup.constants import counts_in_text, own_constants
from emu.lookup.load import load_lookup
from emu.lookup.models import InMemory, expected_many
from emu.lookup.single import LookupAnswer, Single, Wrong, judge
from emu.lookup.starts import STARTS, changes_of, start_from
from emu.lookup.tables import shape_of
from emu.lookup.target import Target, place
from emu.lookup.tear import Happens
from emu.registry import not_one_of
from emu.topology import check_count

# NR_CPUS where tables and immediates end, for a contract that names none.
Others = tuple[tuple[str, int], ...]  # values of defines, and LEAST
Point = tuple[int, Others]  # NR_CPUS, and the other defines that do not have their defaults
SIZES = (1, 2, 3, 16, 255, 256, 4095, 4096)
_CONSTANTS_MAX = 3  # of the code, near which NR_CPUS is tried
_CONDITIONS_MAX = 16  # NR_CPUS at which conditions of the text change


@dataclass(frozen=True, slots=True)
class Checked:
    """One question and its answer.

    :ivar others: the defines beside NR_CPUS that do not have their defaults, and LEAST
    :ivar expected: logical CPU number; None: no CPU; of a race, what is right at its end
    :ivar wrong: the broken promise, or None
    :ivar race: the run in which the table changed
    :ivar begin: what it found at entry, when none of the usual starts shows it
    """

    nr_cpus: int
    others: Others
    question: Question
    expected: int | None
    answer: LookupAnswer
    wrong: Wrong | None
    race: Happens | None = None
    begin: tuple[tuple[str, int], ...] = ()


class BuiltLookup:
    """A lookup at one NR_CPUS."""

    def __init__(self, target: Target, others: Others = ()) -> None:
        self.target = target
        self.others = others
        self._single: Single | None = None
        self._batch: Batch | None = None
        self._asked: tuple[Sequence[int | None], Sequence[int], list[int | None]] = (), (), []

    @property
    def nr_cpus(self) -> int:
        """NR_CPUS."""
        return self.target.nr_cpus

    @property
    def single(self) -> Single:
        """Asks one question at a time, and checks every promise of the contract."""
        if self._single is None:
            self._single = Single(self.target)
        return self._single

    @property
    def batch(self) -> Batch:
        """Asks thousands of questions at once, and checks the answer and the registers."""
        if self._batch is None:
            self._batch = Batch(self.target)
        return self._batch

    @property
    def unused(self) -> list[int]:
        """Values (u64) of unused entries in the tables, ascending."""
        contract, defines = self.target.contract, self.target.defines
        return sorted({shape_of(table, defines).unused for table in contract.tables})

    def expected(self, logical_map: Sequence[int | None], mpidrs: Sequence[int]) -> list[int | None]:
        """Return the right answer for each MPIDR (u64): a logical CPU number, or None.

        :raises DoesNotFit: the tables cannot hold this map
        """
        tables: dict[str, InMemory] = {}
        filled = self.target.fill(logical_map)
        for placed, data in zip(self.target.tables, filled, strict=True):
            tables.setdefault(placed.table.holds, InMemory(placed.table.element, data))
        return expected_many(self.target.contract.model, logical_map, tables, mpidrs)

    def check(
        self, question: Question, *, thoroughly: bool = True, turn: int = 0, before: int | None = None
    ) -> Checked:
        """Ask one question and check every promise of the contract.

        :param thoroughly: when the answer is right, ask again with other values in the registers that the
            contract does not define at entry: the answer must not depend on them
        :param turn: otherwise, which of these values it is asked with, in turn
        :param before: MPIDR_EL1 (u64) that is asked before it, thoroughly: the stack holds what that leaves
        """
        question = Question(self.whole(question.logical_map), question.mpidr)
        expected = self._right(question)
        for start in STARTS if thoroughly else (STARTS[turn % len(STARTS)],):
            answer = self.single.ask(question, start)
            wrong = judge(answer, expected, self.target)
            if wrong is not None:
                break
        stack = self.target.contract.stack
        if wrong is None and thoroughly and before is not None and stack:
            self.single.ask(Question(question.logical_map, before))
            return self.check_from(question, changes_of(self.single.left(), stack))
        if wrong is not None and start.words:
            text = f"{wrong.text} ({start.words})"
            wrong = Wrong(wrong.prop, f"{wrong.cause}, by the fill", text)
        return Checked(self.nr_cpus, self.others, question, expected, answer, wrong)

    def check_from(self, question: Question, begin: tuple[tuple[str, int], ...]) -> Checked:
        """Ask one question from one start (:func:`emu.lookup.starts.start_from`) and check every promise."""
        question = Question(self.whole(question.logical_map), question.mpidr)
        expected = self._right(question)
        start = start_from(begin)
        answer = self.single.ask(question, start)
        wrong = judge(answer, expected, self.target)
        if wrong is not None and start.words:
            wrong = Wrong(wrong.prop, f"{wrong.cause}, by the fill", f"{wrong.text} ({start.words})")
        return Checked(self.nr_cpus, self.others, question, expected, answer, wrong, None, begin)

    def wrong_of(self, logical_map: Sequence[int | None], mpidrs: Sequence[int]) -> list[int]:
        """Ask for many MPIDRs of one map in a batch; return the indices of the wrong answers."""
        batch = self.batch
        batch.fill(logical_map)
        expected = self.expected(logical_map, mpidrs)
        self._asked = logical_map, mpidrs, expected
        return list(batch.ask(mpidrs, expected))

    def _right(self, question: Question) -> int | None:
        # Of the last batch there is an answer already.
        logical_map, mpidrs, expected = self._asked
        if question.mpidr in mpidrs and logical_map == question.logical_map:
            return expected[mpidrs.index(question.mpidr)]
        return self.expected(question.logical_map, [question.mpidr])[0]

    def whole(self, logical_map: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the map padded with holes to NR_CPUS entries.

        :raises InvalidCase: it has more
        """
        if len(logical_map) > self.nr_cpus:
            raise InvalidCase(f"map: {len(logical_map)} CPUs, but NR_CPUS={self.nr_cpus}")
        missing = self.nr_cpus - len(logical_map)
        return (*logical_map, *[None] * missing) if missing else tuple(logical_map)


class UnderTest:
    """A lookup at every NR_CPUS that its contract goes through.

    :ivar contract: what the lookup promises
    :raises EmuError: as :func:`emu.lookup.load.load_lookup`, which the arguments go to
    """

    def __init__(self, name: str, contract: Path | None = None, system_map: Path | None = None) -> None:
        self.name = name
        self.contract, self._load, self._fixed = load_lookup(name, contract, system_map)
        default = self.contract.defines.get("NR_CPUS")
        self._only_nr_cpus = default.default if self._fixed and default is not None else None
        self._built: dict[tuple[int, Others], BuiltLookup] = {}
        self._near: set[int] | None = None  # NR_CPUS near constants of the code; found when first asked
        self.refused: dict[int, str] = {}  # NR_CPUS that does not assemble

    @property
    def sizes(self) -> list[int]:
        """NR_CPUS to go through, ascending: the contract's values, and those near constants of the code."""
        define = self.contract.defines.get("NR_CPUS")
        if self._fixed:
            return [256 if define is None else define.default]
        found = set(SIZES) if define is None else {define.default, *define.sweep}
        if len(found) > 1 and self._near is None:
            self._near = self._near_constants(min(found), max(found)) - found
        return sorted(found | (self._near or set()))

    def _near_constants(self, *sizes: int) -> set[int]:
        # NR_CPUS on both sides of constants that the code has whatever its NR_CPUS is, and its conditions.
        try:
            same = [set(own_constants(self.at(size).target)) for size in sizes]
        except AssemblyError:  # said when it is built
            return set()
        near = [value for value in sorted(set.intersection(*same)) if value <= NR_CPUS_MAX][:_CONSTANTS_MAX]
        text = self._text()
        near += [value for value in counts_in_text(text) if 2 < value <= NR_CPUS_MAX][:_CONSTANTS_MAX]
        around = {value + step for value in near for step in (-1, 0, 1)}
        around |= {*sizes_of_conditions(text)[:_CONDITIONS_MAX]}
        return {size for size in around if size <= NR_CPUS_MAX}

    def _text(self) -> str:
        path = Path(self.name)
        is_text = self.name not in DESIGNS and path.suffix in (".S", ".s")
        return path.read_text(errors="replace") if is_text else ""

    @property
    def variants(self) -> list[Others]:
        """Values of the other defines to go through, each by itself; the defaults first."""
        found: list[Others] = [()]
        for name, define in self.contract.defines.items():
            if name != "NR_CPUS" and not self._fixed:
                found += [((name, value),) for value in sorted(set(define.sweep) - {define.default})]
        return found

    def at(self, nr_cpus: int, others: Others = ()) -> BuiltLookup:
        """Return the lookup built for this NR_CPUS and these values of other defines.

        :raises InvalidCase: the contract has no such define, or the code is built for another NR_CPUS
        :raises AssemblyError: it does not assemble so
        """
        built = self._built.get((nr_cpus, others))
        if built is None:
            defines = tuple(each for each in others if each != LEAST)
            self._check_defines(nr_cpus, defines)
            changes = {"NR_CPUS": nr_cpus, **dict(defines)}
            target = place(self.contract, self._load, changes, least_aligned=LEAST in others)
            if LEAST in others and not target.ours:
                raise InvalidCase(f"{LEAST[0]}: {self.name} has its tables in itself, where they lie")
            built = self._built[nr_cpus, others] = BuiltLookup(target, others)
        return built

    def _check_defines(self, nr_cpus: int, defines: Others) -> None:
        check_count(nr_cpus, "nr-cpus")
        if self._only_nr_cpus not in (None, nr_cpus):
            raise InvalidCase(f"nr-cpus={nr_cpus}: {self.name} is built for NR_CPUS={self._only_nr_cpus}")
        names = sorted(set(self.contract.defines) - {"NR_CPUS"})
        for name, value in defines:
            if name not in names:
                listed = not_one_of(name, names) if names else "the contract has no define beside NR_CPUS"
                raise InvalidCase(f"define={name}:{value}: {listed}")
            if self._fixed and value != self.contract.defines[name].default:
                raise InvalidCase(f"define={name}:{value}: {self.name} is built already")

    def build_all(self, sizes: Sequence[int]) -> list[BuiltLookup]:
        """Return the lookup at each of ``sizes`` that it assembles for; ``refused`` has the others.

        :raises AssemblyError: it assembles for none
        """
        found: list[BuiltLookup] = []
        for nr_cpus in sizes:
            try:
                found.append(self.at(nr_cpus))
            except AssemblyError as error:
                self.refused[nr_cpus] = str(error)
                if nr_cpus == sizes[-1] and not found:
                    raise
        default = self.contract.defines.get("NR_CPUS")
        usual = default.default if default and default.default in sizes else found[-1].nr_cpus
        found += [self.at(usual, others) for others in self.variants[1:]]
        # A table that is nowhere at its least alignment is, once more.
        better = frozenset.intersection(*(built.target.better_aligned for built in found))
        return [*found, self.at(usual, (LEAST,))] if better else found
