"""Every path of a look-up, from its entry to an exit, with symbols for all that is open.

Before a path goes on, the solver is asked whether what an instruction must keep to can be broken, and at
its end whether a promise can. What it answers with is a proposal: the emulator judges it. Paths that come
together with the same numbers in the same registers go on as one, or a loop with two ways round would have
2^N of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Literal

import z3

from emu.lookup.case import Question
from emu.lookup.contract import RETURN
from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.flags import Plain, chosen
from emu.lookup.prove.semantics import decode
from emu.lookup.prove.solver import Solver
from emu.lookup.prove.state import SP, Goes, State, Step, Waits
from emu.lookup.prove.surroundings import Around, Duty
from emu.lookup.prove.world import World
from emu.lookup.starts import Start
from emu.lookup.target import RETURN_PA, Target

STEPS_MAX = 400_000  # instructions of all paths
_VALUES_MAX = 256  # of an address that is not of a table of the contract
_TARGETS_MAX = 64  # of one branch to a register


@dataclass(frozen=True, slots=True)
class Proposal:
    """A counterexample that the solver proposes.

    :ivar prop: the property that it breaks
    :ivar words: what happens
    :ivar start: what the look-up finds at entry where the contract leaves it open
    """

    prop: str
    words: str
    question: Question
    start: Start


@dataclass(slots=True)
class Counts:
    """What was done so far.

    :ivar paths: that came to an end
    :ivar longest: instructions of the longest path to an exit
    """

    paths: int = 0
    steps: int = 0
    queries: int = 0
    longest: int = 0


class CannotProve(Exception):
    """The reason why nothing can be said, in words.

    :ivar unknown: VA and word (u32) of the instruction without semantics, when that is the reason
    """

    unknown: tuple[int, int] | None = None


@dataclass(slots=True)
class Path:
    """A path under way.

    :ivar conditions: what holds on it, beside what always does
    :ivar back: how often it has gone backwards: paths that may still come together have the same
    :ivar model: symbols for which it is taken
    """

    state: State
    conditions: tuple[z3.BoolRef, ...]
    back: int
    model: z3.ModelRef

    @property
    def place(self) -> tuple[int, int]:
        """What paths are taken in order of: those behind wait for those before."""
        return self.back, self.state.pc

    def goes(self, pc: int, condition: Truth, model: z3.ModelRef) -> Path:
        """Return the path that goes on at ``pc`` where the condition holds."""
        away = self.state.copy()
        away.pc = pc
        conditions = self.conditions if condition is True else (*self.conditions, bits.boolean(condition))
        return Path(away, conditions, self.back + (pc <= self.state.pc), model)


class Paths:
    """The paths of one target.

    :ivar counts: what was done so far
    """

    def __init__(self, target: Target, world: World, *, quick: bool = False) -> None:
        """Begin at the entry; ``quick`` is that of :class:`emu.lookup.prove.solver.Solver`."""
        self.counts = Counts()
        self._target, self._world = target, world
        self._around = Around(target, world)
        self._around.possible = self._possible
        self._around.values = self._values
        self._solver = Solver(quick=quick)
        self._solver.add(*world.known)
        self._held: list[z3.BoolRef] = []  # conditions of the path under way, as the solver has them
        self._given = self._first()
        self._words: dict[int, int] = {}
        self._model: z3.ModelRef | None = None  # of the path so far
        self._waiting: dict[tuple[int, int], list[Path]] = {}
        self._places: list[tuple[int, int]] = []  # of those that wait, a heap

    def run(self) -> Iterator[Proposal | None]:
        """Go through all paths; yield proposals, and None now and then.

        :raises CannotProve: an instruction without semantics, or a bound
        """
        if not self._can_be(True):
            return  # no map fits the tables
        assert self._model is not None
        self._wait(Path(self._given.copy(), (), 0, self._model))
        while self._places:
            place = heappop(self._places)
            for path in self._waiting.pop(place):
                self._hold(path)
                yield from self._run(path)
            yield None

    # -- paths that come together -----------------------------------------------------------------

    def _wait(self, path: Path) -> None:
        others = self._waiting.setdefault(path.place, [])
        if not others:
            heappush(self._places, path.place)
        for number, other in enumerate(others):
            if (both := joined(other, path)) is not None:
                others[number] = both
                return
        others.append(path)

    def _hold(self, path: Path) -> None:
        # Let the solver have the conditions of the path, and what it has of them stay.
        same = 0
        for one, two in zip(self._held, path.conditions, strict=False):
            if not one.eq(two):
                break
            same += 1
        if len(self._held) > same:
            self._solver.pop(len(self._held) - same)
        del self._held[same:]
        for condition in path.conditions[same:]:
            self._take(condition)
        self._model = path.model

    # -- one path ---------------------------------------------------------------------------------

    def _run(self, path: Path) -> Iterator[Proposal]:
        # Up to its end, its next branch, or a place where another path waits.
        target, state = self._target, path.state
        begin = state.pc
        while True:
            if state.pc == target.found_pa or state.pc == target.missing_pa:
                self.counts.longest = max(self.counts.longest, state.retired_max)
                self.counts.paths += 1
                yield from self._at_exit(state)
                return
            if state.retired_max >= target.instructions_limit:
                yield from self._without_exit(f"no exit within {state.retired_max} instructions")
                return
            if state.pc != begin and path.place in self._waiting:
                self._wait(replace(path, conditions=tuple(self._held), model=self._now))
                return
            step = yield from self._step(state)
            if step is False:
                return
            if isinstance(step, Waits) or (
                isinstance(step, Goes) and step.condition is True and _is(step.to, state.pc)
            ):
                self.counts.paths += 1
                yield from self._without_exit("waits" if isinstance(step, Waits) else "branches to itself")
                return
            if isinstance(step, Goes):
                self._branch(replace(path, conditions=tuple(self._held), model=self._now), step)
                return
            state.pc += 4
            begin = -1

    @property
    def _now(self) -> z3.ModelRef:
        assert self._model is not None
        return self._model

    def _step(self, state: State) -> Generator[Proposal, None, Step | Literal[False]]:
        # One instruction but for the PC; False: the path ends there.
        if self.counts.steps >= STEPS_MAX:
            raise CannotProve(f"more than {STEPS_MAX} instructions on all its paths")
        word = self._word(state.pc)
        if word is None:
            yield from self._break(Duty(False, "exit", f"leaves for {state.pc:#x}"))
            return False
        instruction = decode(word)
        if instruction is None:
            reason = CannotProve("an instruction without semantics")
            reason.unknown = (state.pc + self._target.subject.va_offset) % 2**64, word
            raise reason
        self._around.duties.clear()
        step = instruction.execute(word, state)
        self.counts.steps += 1
        state.retired = bits.add(state.retired, 1, 64)
        state.retired_max += 1
        for duty in tuple(self._around.duties):
            yield from self._break(duty)
            if not self._can_be(duty.holds):
                return False
            self._take(duty.holds)
        return step

    def _branch(self, path: Path, step: Goes) -> None:
        state = path.state
        if not isinstance(step.to, int):
            self._branch_to_register(path, step.to)
            return
        for condition, pc in ((step.condition, step.to), (bits.negate(step.condition), state.pc + 4)):
            self._model = path.model
            if self._can_be(condition):
                self._wait(path.goes(pc, condition, self._now))

    def _branch_to_register(self, path: Path, to: z3.BitVecRef) -> None:
        # One path for each value that it can have.
        found = 0
        self._solver.push()
        while self._ask():
            if found == _TARGETS_MAX:
                raise CannotProve(f"a branch at {path.state.pc:#x} to more than {_TARGETS_MAX} places")
            found += 1
            value = int(self._now.eval(to, True).as_long())
            self._wait(path.goes(value, bits.equal(to, value, 64), self._now))
            self._solver.add(to != value)
        self._solver.pop()

    def _at_exit(self, state: State) -> Iterator[Proposal]:
        target, contract, right = self._target, self._target.contract, self._world.right
        index = state.x[int(contract.index[1:])]
        none = bits.negate(bits.some(*right))
        # The place of each logical CPU in the index register.
        hits = [
            bits.every(bits.equal(index, cpu, 64), each)
            for cpu, each in enumerate(right)
            if each is not False
        ]
        if state.pc == target.missing_pa:
            yield from self._break(Duty(none, "answer", "finds nothing"))
        elif contract.missing_index is not None and contract.missing == RETURN:
            says_none = bits.equal(index, contract.missing_index, 64)
            yield from self._break(
                Duty(
                    bits.select(says_none, none, bits.some(*hits)), "answer", "finds another CPU, or nothing"
                )
            )
        else:
            yield from self._break(Duty(bits.some(*hits), "answer", "finds another CPU"))
        kept = {contract.index, *contract.may_change}
        given = self._given
        for number in range(32):
            if number == SP or f"x{number}" not in kept:
                if state.x[number] is given.x[number]:
                    continue
                unchanged = bits.equal(state.x[number], given.x[number], 64)
                name = "SP" if number == SP else f"x{number}"
                yield from self._break(Duty(unchanged, "registers", f"{name} comes out changed"))
        if state.daif is not given.daif:
            yield from self._break(
                Duty(bits.equal(state.daif, given.daif, 64), "registers", "DAIF comes out changed")
            )
        if contract.preserve_flags and state.flags is not given.flags:
            pairs = zip(state.flags.nzcv, given.flags.nzcv, strict=True)
            unchanged = bits.every(*(bits.same(one, two) for one, two in pairs))
            yield from self._break(Duty(unchanged, "registers", "NZCV comes out changed"))
        bound = target.instructions_max
        if bound and state.retired_max > bound:
            within = bits.negate(bits.below(bound, state.retired, 64))
            yield from self._break(Duty(within, "bound", f"takes up to {state.retired_max} instructions"))

    def _without_exit(self, words: str) -> Iterator[Proposal]:
        # It waits, or goes on for ever: right where it has to miss and the contract says so.
        contract = self._target.contract
        if contract.parks or contract.missing is None:
            yield from self._break(Duty(bits.negate(bits.some(*self._world.right)), "exit", words))
        else:
            yield from self._break(Duty(False, "exit", words))

    # -- the solver -------------------------------------------------------------------------------

    def _ask(self) -> bool:
        self.counts.queries += 1
        found = self._solver.check()
        if found is None:
            raise CannotProve("z3 has given up a question of it: too much work")
        if found is False:
            return False
        self._model = found
        return True

    def _can_be(self, condition: Truth) -> bool:
        # Whether it can hold on the path so far; then `_model` is one in which it does.
        if condition is False:
            return False
        model = self._model
        if model is not None and (condition is True or z3.is_true(model.eval(condition, True))):
            return True
        self._solver.push()
        self._solver.add(bits.boolean(condition))
        found = self._ask()
        self._solver.pop()
        return found

    def _possible(self, condition: Truth) -> bool:
        model = self._model
        found = self._can_be(condition)
        self._model = model
        return found

    def _values(self, value: z3.BitVecRef, condition: Truth) -> list[int] | None:
        # All values that it can have on the path so far where the condition holds; None: too many.
        model = self._model
        found: list[int] = []
        self._solver.push()
        self._solver.add(bits.boolean(condition))
        while len(found) <= _VALUES_MAX and self._ask():
            found.append(int(self._now.eval(value, True).as_long()))
            self._solver.add(value != found[-1])
        self._solver.pop()
        self._model = model
        return found if len(found) <= _VALUES_MAX else None

    def _take(self, condition: Truth) -> None:
        if condition is not True:
            self._held.append(bits.boolean(condition))
            self._solver.push()
            self._solver.add(self._held[-1])

    def _break(self, duty: Duty) -> Iterator[Proposal]:
        # A proposal, when the duty can be broken on the path so far.
        model = self._model
        if self._can_be(bits.negate(duty.holds)):
            assert self._model is not None
            yield Proposal(duty.prop, duty.words, self._world.question(self._model), self._start(self._model))
        self._model = model

    # -- the beginning ----------------------------------------------------------------------------

    def _first(self) -> State:
        target, contract = self._target, self._target.contract
        x: list[Value] = [z3.BitVec(f"x{number}", 64) for number in range(31)]
        x.append(target.stack_top if contract.stack else z3.BitVec("sp", 64))
        if RETURN in (contract.found, contract.missing):
            x[30] = RETURN_PA
        if contract.mpidr != "mpidr_el1":
            x[int(contract.mpidr[1:])] = self._world.mpidr
        for placed in target.tables:
            if placed.table.base:
                x[int(placed.table.base[1:])] = placed.pa
            if placed.table.length:
                x[int(placed.table.length[1:])] = placed.count
        negative, zero, carry, overflow = (z3.Bool(f"flag-{name}") for name in "nzcv")
        daif = bits.both(z3.BitVec("daif", 64), 0x3C0, 64)
        return State(
            x, Plain((negative, zero, carry, overflow)), target.entry_pa, daif, self._around, stored={}
        )

    def _start(self, model: z3.ModelRef) -> Start:
        def number(value: Value) -> int:
            return value if isinstance(value, int) else int(model.eval(value, True).as_long())

        registers = tuple(number(value) for value in self._given.x)
        flags = sum(
            bool(each is True or z3.is_true(model.eval(bits.boolean(each), True))) << 31 - place
            for place, each in enumerate(self._given.flags.nzcv)
        )
        sp = None if self._target.contract.stack else registers[31]
        return Start(registers[:31], flags, number(self._given.daif), checks_sp=True, sp=sp)

    def _word(self, pc: int) -> int | None:
        if pc not in self._words:
            for segment in self._target.subject.segments:
                at = pc - segment.pa
                if 0 <= at <= len(segment.data) - 4 and not pc & 3:
                    self._words[pc] = int.from_bytes(segment.data[at : at + 4], "little")
        return self._words.get(pc)


def joined(one: Path, other: Path) -> Path | None:
    """Return both paths as one, or None when numbers in their registers differ."""
    a, b = one.state, other.state
    if a.event != b.event or a.stored is None or b.stored is None or a.stored.keys() != b.stored.keys():
        return None
    values = [
        *zip(a.x, b.x, strict=True),
        *((a.stored[pa], b.stored[pa]) for pa in a.stored),
        (a.daif, b.daif),
    ]
    if any((isinstance(x, int) or isinstance(y, int)) and not _is(x, y) for x, y in values):
        return None
    same = 0
    for x, y in zip(one.conditions, other.conditions, strict=False):
        if not x.eq(y):
            break
        same += 1
    here = bits.every(*one.conditions[same:])
    rest = bits.some(here, bits.every(*other.conditions[same:]))
    state = a.copy()
    state.x = [_one_of(here, x, y, 64) for x, y in zip(a.x, b.x, strict=True)]
    state.stored = {pa: _one_of(here, value, b.stored[pa], 8) for pa, value in a.stored.items()}
    state.daif = _one_of(here, a.daif, b.daif, 64)
    state.flags = chosen(here, a.flags, b.flags)
    state.retired = bits.choose(here, a.retired, b.retired, 64)
    state.retired_max = max(a.retired_max, b.retired_max)
    conditions = one.conditions[:same] if rest is True else (*one.conditions[:same], bits.boolean(rest))
    return Path(state, conditions, one.back, one.model)


def _one_of(condition: Truth, a: Value, b: Value, width: int) -> Value:
    return a if _is(a, b) else bits.choose(condition, a, b, width)


def _is(a: Value, b: Value) -> bool:
    # Whether they are the same without a question to the solver.
    if isinstance(a, int) or isinstance(b, int):
        return type(a) is type(b) and a == b
    return bool(a.eq(b))
