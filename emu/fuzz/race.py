"""A lookup that runs while another CPU writes its table: which answers are right, and what it answers.

The host writes entries between any two operations of the scan, as hotplug of virtual CPUs does: an entry is
emptied, filled, or gets another hwid. The answer must be right for one state of the table during the run:
before, between, or after the writes, never for a mixture of two states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from emu.arch import a64
from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.cpu.factory import make_engine
from emu.errors import Untestable
from emu.fuzz.built_lookup import BuiltLookup, Checked, UnderTest
from emu.fuzz.questions import random_map
from emu.host.dcache import clean
from emu.lookup.case import LookupCase, Question
from emu.lookup.constants import code_words
from emu.lookup.single import LookupAnswer, Wrong
from emu.lookup.target import Placed
from emu.machine import Machine
from emu.machine.actor import Grain, HostTask, State
from emu.operation import Operation, Park, Store
from emu.outcome import End, Outcome, ended
from emu.schedulers import PART, Pick, make_scheduler
from emu.trace import Trace

_WRITES_MAX = 6
_LOW = 0xFFFF_FFFF
_TORN = 0.3  # share of the runs that look for a torn entry: one half old, the other new


@dataclass(frozen=True, slots=True)
class RacePlan:
    """One run: the map at its start, the writes (entry, new hwid), and the MPIDR that is looked up."""

    logical_map: tuple[int | None, ...]
    writes: tuple[tuple[int, int | None], ...]
    mpidr: int
    seed: int

    @property
    def states(self) -> list[tuple[int | None, ...]]:
        """The map at its start and after each write."""
        found = [self.logical_map]
        for cpu, hwid in self.writes:
            changed = list(found[-1])
            changed[cpu] = hwid
            found.append(tuple(changed))
        return found


class _Order:
    # Picks at random. What the look-up reads in parts, such as an LDP, it may make a part at a time: a store
    # can come in between.

    machine: Machine

    def __init__(self, tears: bool) -> None:
        self._tears = tears
        self.begin(0)

    def begin(self, seed: int) -> None:
        self._picks = make_scheduler(f"random:{seed}")
        self._parts = Random(~seed)

    def pick(self, runnable: Sequence[int], current: int) -> int:
        return self._picks.pick(runnable, current)

    def next_pick(self) -> Pick | None:
        if not self._tears:
            return None
        machine = self.machine
        actor = machine.actors[1]
        if actor.task is not None or actor.state is not State.RUNNABLE or actor.made:
            return None
        pc = actor.pe.pc
        if not machine.memory.contains(pc, 4) or not _may_tear(machine.memory.read(pc, 4)):
            return None
        number = self._parts.randrange(4)  # every second time the whole
        if number > 1 or not machine.parts.can_make(1, number):
            return None
        return Pick(f"{PART}{number}", 1)


def _may_tear(word: int) -> bool:
    # Loads of a pair and of 16 bytes. What is not aligned faults: the MMU is off.
    is_pair = word & 0x3A40_0000 == 0x2840_0000 or word & 0x3FE0_0000 == 0x0860_0000
    return is_pair or a64.is_quad_access(word)


class Race:
    """A lookup on CPU 1 of a machine whose CPU 0 writes the table."""

    def __init__(self, built: BuiltLookup) -> None:
        self._built = built
        self._table = table_of(built)
        assert self._table is not None, "only a table of hwids has an entry for each CPU"
        target = built.target
        self._memory = target.memory()
        self._order = _Order(any(_may_tear(word) for _pa, word in code_words(target)))
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

    def run(self, seed: int) -> Checked:
        """Run the plan of ``seed``, and judge the answer.

        :raises DoesNotFit: the table cannot hold one of its maps
        """
        plan = make_plan(self._built.nr_cpus, seed)
        built, target, machine = self._built, self._built.target, self._machine
        states = plan.states
        allowed = {built.expected(state, [plan.mpidr])[0] for state in states}
        for placed in target.tables:
            self._memory.write_bytes(placed.pa, built.table_bytes(placed, plan.logical_map))
        self._order.begin(seed)
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
        machine.start_task(0, self._write(plan))
        machine.run()
        answer = replace(self._answer, instructions=pe.counters.instructions - before)
        if not answer.exit:
            answer = replace(answer, pc=pe.pc, why=_why(machine.actors[1].outcome))
        question = Question(plan.logical_map, plan.mpidr)
        expected = built.expected(states[-1], [plan.mpidr])[0]
        wrong = self._judge(plan, answer, allowed)
        return Checked(built.nr_cpus, built.others, question, expected, answer, wrong, seed)

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

    def _write(self, plan: RacePlan) -> HostTask:
        table = self._table
        assert table is not None
        for (cpu, _hwid), state in zip(plan.writes, plan.states[1:], strict=True):
            data = self._built.table_bytes(table, state)
            at = cpu * table.table.element
            value = int.from_bytes(data[at : at + table.table.element], "little")
            yield Store(table.pa + at, value, table.table.element)
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
        return Race(built).run(case.race)
    return built.check_from(case.question, case.begin) if case.begin else built.check(case.question)


def table_of(built: BuiltLookup) -> Placed | None:
    """Return the table with one entry for each CPU, when it is the only table; else None."""
    tables = built.target.tables
    return tables[0] if len(tables) == 1 and tables[0].table.holds == "hwid" else None


def sorted_answers(answers: set[int | None]) -> list[int | None]:
    """Return logical ids ascending, "nothing" (None) first."""
    return sorted(answers, key=lambda cpu: -1 if cpu is None else cpu)


def make_plan(nr_cpus: int, seed: int) -> RacePlan:
    """Return the plan of ``seed``: a map, up to six writes, and the MPIDR that is looked up."""
    rng = Random(seed)
    start = random_map(rng, nr_cpus)
    if rng.random() < _TORN:
        return _torn_plan(rng, start, seed)
    state, writes = list(start), []
    spare = [hwid for hwid in random_map(rng, nr_cpus) if hwid is not None]
    for _ in range(rng.randint(1, _WRITES_MAX)):
        cpu = rng.randrange(nr_cpus)
        held = set(state)
        free = [hwid for hwid in spare if hwid not in held]
        hwid = rng.choice(free) if free and (state[cpu] is None or rng.random() < 0.4) else None
        if hwid is None and state[cpu] is None:
            continue
        state[cpu] = hwid
        writes.append((cpu, hwid))
    return RacePlan(start, tuple(writes), _who_asks(rng, start, writes) | RES1, seed)


def _torn_plan(rng: Random, logical_map: tuple[int | None, ...], seed: int) -> RacePlan:
    # One entry gets another hwid, and may get the first one back; the MPIDR looked up has half of each.
    cpu = rng.randrange(len(logical_map))
    before, after = (rng.getrandbits(40) & MPIDR_HWID_BITMASK for _ in range(2))
    start = tuple(None if hwid in (before, after) else hwid for hwid in logical_map)
    start = (*start[:cpu], before, *start[cpu + 1 :])
    writes = [(cpu, after), (cpu, before)][: rng.randint(1, 2)] if before != after else []
    asks = before & _LOW | after & ~_LOW if rng.random() < 0.5 else before & ~_LOW | after & _LOW
    return RacePlan(start, tuple(writes), asks | RES1, seed)


def _who_asks(rng: Random, start: Sequence[int | None], writes: Sequence[tuple[int, int | None]]) -> int:
    # An MPIDR of the table at its start, or of a written entry.
    here = [hwid for hwid in start if hwid is not None] or [0]
    written = [hwid for _cpu, hwid in writes if hwid is not None]
    kind = rng.random()
    if written and kind < 0.4:
        return rng.choice(written)
    touched = [start[cpu] for cpu, _hwid in writes]
    mine = [hwid for hwid in touched if hwid is not None]
    return rng.choice(mine if mine and kind < 0.8 else here)


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
