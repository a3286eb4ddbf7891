"""A lookup that runs while another CPU writes its table: which answers are right, and what it answers.

The host writes entries between any two operations of the scan, as hotplug of virtual CPUs does: an entry is
emptied, filled, or gets another hwid. It does so at random, or at each place within the reads of an entry
(:class:`emu.lookup.tear.Tear`). The answer must be right for one state of the table during the run:
before, between, or after the writes, never for a mixture of two states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.cpu.factory import make_engine
from emu.errors import InvalidCase, Untestable
from emu.fuzz.built_lookup import BuiltLookup, Checked, UnderTest
from emu.fuzz.race_order import Noted, RaceOrder, may_tear
from emu.fuzz.race_plan import RacePlan, fields_of, plan_of, tear_plan
from emu.host.dcache import clean
from emu.lookup.case import LookupCase, Question
from emu.lookup.constants import code_words
from emu.lookup.single import LookupAnswer, Wrong
from emu.lookup.target import Placed
from emu.lookup.tear import Change, Changes, Happens, Tear
from emu.machine import Machine
from emu.machine.actor import Grain, HostTask
from emu.operation import Operation, Park, Store
from emu.outcome import End, Outcome, ended
from emu.trace import Trace

_PLACES_MAX = 32  # in the reads of one entry, at which it is stored to


class Race:
    """A lookup on CPU 1 of a machine whose CPU 0 writes the table."""

    def __init__(self, built: BuiltLookup) -> None:
        self._built = built
        table = table_of(built)
        assert table is not None, "only a table of hwids has an entry for each CPU"
        self._table = table
        target = built.target
        self._memory = target.memory()
        self._order = RaceOrder(any(may_tear(word) for _pa, word in code_words(target)))
        self._machine = self._order.machine = Machine(
            self._memory, self._order, Trace(""), make_engine, grain=Grain.OPERATION
        )
        self._machine.entry_el = target.contract.el
        for cpu in (0, 1):
            self._machine.add_cpu(RES1 | cpu, 0x410F_D083, {})
        self._answer = LookupAnswer("", 0, 0, 0, (), "")
        self._machine.landings.land_at(target.found_pa, lambda cpu: self._land(cpu, "found"))
        if target.missing_pa is not None:
            self._machine.landings.land_at(target.missing_pa, lambda cpu: self._land(cpu, "missing"))

    def run(self, race: Happens, question: Question | None = None) -> Checked:
        """Run it, and judge the answer.

        :param question: of Changes: the map at the start, and who asks
        :raises DoesNotFit: the table cannot hold one of its maps
        :raises InvalidCase: an entry of a CPU that there is not, or a hwid that is none or there twice
        """
        plan = self._plan(race, question)
        if isinstance(race, Tear):
            self._order.begin_middle(self._entry(race.cpu), race)
        elif isinstance(race, Changes):
            self._order.begin_at(self._table.bytes_at, [(each.read, each.parts) for each in race.each])
        else:
            self._order.begin(race)
        answer = self._run(plan, race)
        allowed = {self._built.expected(state, [plan.mpidr])[0] for state in plan.states}
        wrong = self._judge(plan, answer, allowed)
        if wrong is not None and isinstance(race, Tear | Changes):
            where = _where(race) if isinstance(race, Tear) else _when(race)
            wrong = replace(wrong, text=f"{wrong.text}; {where}")
        question = Question(plan.logical_map, plan.mpidr)
        expected = self._built.expected(plan.states[-1], [plan.mpidr])[0]
        return Checked(self._built.nr_cpus, self._built.others, question, expected, answer, wrong, race)

    def _plan(self, race: Happens, question: Question | None) -> RacePlan:
        nr_cpus = self._built.nr_cpus
        if not isinstance(race, Changes):
            if isinstance(race, Tear):
                _check_cpu(race, race.cpu, nr_cpus)
            return plan_of(nr_cpus, race, self._table.table.element)
        assert question is not None, "of changes"
        writes = tuple((each.cpu, each.hwid) for each in race.each)
        for cpu, _hwid in writes:
            _check_cpu(race, cpu, nr_cpus)
        plan = RacePlan(self._built.whole(question.logical_map), writes, question.mpidr)
        for state in plan.states:
            hwids = [hwid for hwid in state if hwid is not None]
            if len(set(hwids)) < len(hwids) or any(hwid & ~MPIDR_HWID_BITMASK for hwid in hwids):
                raise InvalidCase(f"race={race}: each CPU has a hwid of its own, of the bits of a hwid")
        return plan

    def in_steps(self, found: Checked) -> tuple[Question, Changes] | None:
        """Return the run of a seed or of a tear as stores one by one; None: nothing is stored in it."""
        assert found.race is not None
        if isinstance(found.race, Changes):
            return found.question, found.race
        plan = self._plan(found.race, None)
        noted = self._order.noted = Noted(self._machine, self._table.bytes_at)
        try:
            self.run(found.race)
        finally:
            self._order.noted = None
        # A store, and what cleans its line.
        places = noted.places[:: 1 + len(list(clean(0)))]
        stores = [Change(*write, *place) for write, place in zip(plan.writes, places, strict=False)]
        return (Question(plan.logical_map, plan.mpidr), Changes(tuple(stores))) if stores else None

    def tears(self) -> Iterator[Tear]:
        """Yield a tear for each place in the look-up's reads of an entry, and each mixture of two hwids.

        Of the first entry and of the last: what is read of one is read as it is when nothing changes.

        :raises DoesNotFit: the table cannot hold the hwids
        """
        table, nr_cpus = self._table, self._built.nr_cpus
        element = table.table.element
        for cpu in dict.fromkeys((0, nr_cpus - 1)):
            whole = (1 << len(fields_of(element))) - 1
            plan = tear_plan(nr_cpus, Tear(cpu, 0, 1, whole), element)
            order = self._order.begin_middle(self._entry(cpu), None)
            self._run(replace(plan, writes=()), 0)
            for read, parts in islice(_places(order.reads), _PLACES_MAX):
                yield from (Tear(cpu, read, parts, old) for old in range(1, whole))

    def _entry(self, cpu: int) -> range:
        # PAs of the entry of a CPU.
        element = self._table.table.element
        return range(self._table.pa + cpu * element, self._table.pa + (cpu + 1) * element)

    def _run(self, plan: RacePlan, race: Happens) -> LookupAnswer:
        built, target, machine = self._built, self._built.target, self._machine
        for placed, data in zip(target.tables, target.fill(plan.logical_map), strict=True):
            self._memory.write_bytes(placed.pa, data)
        machine.recorder.trace = Trace("")
        pe = machine.actors[1].pe
        pe.mpidr = target.mpidr_el1(plan.mpidr)
        pe.set_overrides(target.contract.el, {})
        before = pe.counters.instructions
        self._answer = LookupAnswer("", 0, 0, 0, (), "no exit")
        machine.go_on(built.single.limit + 1000)
        machine.power_on(1, target.entry_pa, 0)
        for number, value in enumerate(built.single.registers(Question(plan.logical_map, plan.mpidr))):
            pe.x[number] = value
        machine.start_task(0, self._write(plan, cleans=not isinstance(race, Changes)))
        machine.run()
        answer = replace(self._answer, instructions=pe.counters.instructions - before)
        if not answer.exit:
            answer = replace(answer, pc=pe.pc, why=_why(machine.actors[1].outcome))
        return answer

    def _judge(self, plan: RacePlan, answer: LookupAnswer, allowed: set[int | None]) -> Wrong | None:
        contract = self._built.target.contract
        got = answer.index if answer.exit == "found" else None
        if answer.exit == "found" and contract.missing_index == answer.index:
            got = None
        if not answer.exit and not (contract.parks or contract.missing is None):
            return Wrong("concurrent", "exit", f"{answer.why}, while the table changes")
        if got in allowed:
            return None
        right = ", ".join("nothing" if cpu is None else f"CPU {cpu}" for cpu in sorted_answers(allowed))
        what = "nothing" if got is None else f"CPU {got}"
        writes = ", ".join(
            f"entry {cpu} {'emptied' if hwid is None else f'= {hwid:#x}'}" for cpu, hwid in plan.writes
        )
        return Wrong(
            "concurrent", answer.exit, f"finds {what}; at no moment of {writes} was that right ({right})"
        )

    def _write(self, plan: RacePlan, *, cleans: bool) -> HostTask:
        # The memory is coherent: a clean takes a step of its own, and no more.
        table = self._table
        for (cpu, _hwid), state in zip(plan.writes, plan.states[1:], strict=True):
            (data,) = self._built.target.fill(state)
            at = cpu * table.table.element
            value = int.from_bytes(data[at : at + table.table.element], "little")
            yield Store(table.pa + at, value, table.table.element)
            if cleans:
                yield from clean(table.pa + at)
        yield Park(ended("table written"))
        return None

    def _land(self, cpu: int, exit_: str) -> HostTask:
        pe = self._machine.actors[cpu].pe
        index = pe.x[int(self._built.target.contract.index[1:])]
        self._answer = LookupAnswer(exit_, index, 0, pe.pc, ())
        last: Operation = Park(ended("landed"))
        yield last
        return None


def ask_case(under_test: UnderTest, case: LookupCase) -> Checked:
    """Ask the question of a case, or run its race.

    :raises EmuError: the lookup does not assemble so, or its tables cannot hold the map
    """
    built = under_test.at(case.nr_cpus, case.others)
    if case.race is not None:
        if table_of(built) is None:
            raise InvalidCase(f"race={case.race}: {case.subject}: no table of which each CPU has one entry")
        return Race(built).run(case.race, case.question)
    return built.check_from(case.question, case.begin) if case.begin else built.check(case.question)


def table_of(built: BuiltLookup) -> Placed | None:
    """Return the table with one entry for each CPU, when it is the only table; else None."""
    tables = built.target.tables
    return tables[0] if len(tables) == 1 and tables[0].table.holds == "hwid" else None


def sorted_answers(answers: set[int | None]) -> list[int | None]:
    """Return logical ids ascending, "nothing" (None) first."""
    return sorted(answers, key=lambda cpu: -1 if cpu is None else cpu)


def _places(reads: Sequence[int]) -> Iterator[tuple[int, int]]:
    # Between two parts of an instruction, made forwards and backwards; and between two instructions.
    for read, parts in enumerate(reads):
        yield from ((read, made) for made in range(1, parts))
        yield from ((read, -made) for made in range(1, parts))
        if read + 1 < len(reads):
            yield read, parts


def _where(tear: Tear) -> str:
    return f"the store comes after {_part(tear.parts, tear.read)} of the entry"


def _when(changes: Changes) -> str:
    words = [
        _part(each.parts, each.read) if each.parts else f"{each.read} read{'' if each.read == 1 else 's'}"
        for each in changes.each
    ]
    return f"the store{'s come' if len(words) > 1 else ' comes'} after {', '.join(words)} of the table"


def _part(parts: int, read: int) -> str:
    count, side = abs(parts), "last" if parts < 0 else "first"
    return f"the {side} part{'' if count == 1 else f's ({count})'} of read {read + 1}"


def _check_cpu(race: Happens, cpu: int, nr_cpus: int) -> None:
    if cpu >= nr_cpus:
        raise InvalidCase(f"race={race}: CPU {cpu}, but NR_CPUS={nr_cpus}")


def _why(outcome: Outcome | None) -> str:
    # Why a lookup did not reach an exit.
    match outcome:
        case Outcome(End.SELF_BRANCH):
            return "branches to itself"
        case Outcome(End.WAITS_FOR_INTERRUPT):
            return "waits for an interrupt (WFI)"
        case Outcome(End.VECTOR_WITHOUT_CODE, _, syndrome):
            return f"no code at its exception vector, ESR {syndrome:#x}"
        case Outcome(End.VECTOR_RAISES, _, syndrome):
            return f"an exception at its exception vector, ESR {syndrome:#x}"
        case Outcome(End.UNMODELLED, name):
            raise Untestable(f"not modelled: {name}")
    return "no exit"
