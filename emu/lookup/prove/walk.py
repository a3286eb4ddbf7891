"""One instruction of a look-up after another, with symbols: what it must keep to, and what breaks that."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import z3

from emu.lookup.case import Question
from emu.lookup.prove import bits
from emu.lookup.prove.asking import Asking, CannotProve, Counts
from emu.lookup.prove.bits import Truth
from emu.lookup.prove.promises import at_entry, at_exit, start_of, without_exit
from emu.lookup.prove.semantics import decode, raises
from emu.lookup.prove.situation import Situation
from emu.lookup.prove.solver import Solver
from emu.lookup.prove.state import Goes, State, Step, Waits
from emu.lookup.prove.surroundings import Around, Duty
from emu.lookup.starts import Start
from emu.lookup.target import Target

STEPS_MAX = 400_000  # instructions of all paths
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


class Walk:
    """What all paths of a proof share.

    :ivar counts: what was done so far
    :ivar asking: the solver, with the conditions of the path under way
    :ivar given: the state at entry
    :ivar around: memory and system registers
    :ivar many: ids of symbols that have too many values to list those of an address with them
    """

    def __init__(self, target: Target, situation: Situation, solver: Solver) -> None:
        self.target, self.situation = target, situation
        self.counts = Counts()
        self.asking = Asking(solver, self.counts)
        solver.add(*situation.known)
        self.around = Around(target, situation)
        solver.add(*self.around.known)
        self.around.possible = self.asking.possible
        self.around.values = self._values
        self.many: set[int] = set()
        self.given = at_entry(target, situation, self.around)
        self._words: dict[int, int] = {}

    def step(self, state: State, *, judged: bool = True) -> Generator[Proposal, None, Step | Literal[False]]:
        """Execute one instruction but for the PC, and yield what breaks it; False: the path ends there.

        :param judged: yield what breaks it; else what it has to keep to is taken to hold
        :raises CannotProve: an instruction without semantics, or a bound
        """
        if self.counts.steps >= STEPS_MAX:
            raise CannotProve(f"more than {STEPS_MAX} instructions on all its paths")
        word = self._word(state.pc)
        if word is None:
            if judged:
                yield from self.breaks(Duty(False, "exit", f"leaves for {state.pc:#x}"))
            return False
        if raises(word):
            self.counts.steps += 1
            if judged:
                yield from self.breaks(Duty(False, "exit", "raises an exception or calls firmware"))
            return False
        instruction = decode(word)
        if instruction is None:
            reason = CannotProve("an instruction without semantics")
            reason.unknown = (state.pc + self.target.subject.va_offset) % 2**64, word
            raise reason
        self.around.duties.clear()
        step = instruction.execute(word, state)
        self.counts.steps += 1
        state.retired = bits.add(state.retired, 1, 64)
        state.retired_max += 1
        for duty in tuple(self.around.duties):
            if judged:
                yield from self.breaks(duty)
            if not self.asking.can_be(duty.holds):
                return False
            self.asking.take(duty.holds)
        return step

    def is_exit(self, pc: int) -> bool:
        """Tell whether ``pc`` (PA) is an exit."""
        return pc == self.target.found_pa or pc == self.target.missing_pa

    def stays(self, step: Step, pc: int) -> str:
        """Return how an instruction at ``pc`` stays there for ever, in words; nothing: it goes on."""
        if isinstance(step, Waits):
            return "waits"
        here = isinstance(step, Goes) and step.condition is True and bits.is_same(step.to, pc)
        return "branches to itself" if here else ""

    def ways(self, step: Step, pc: int) -> Iterator[tuple[int, Truth]]:
        """Yield where it goes on from an instruction at ``pc`` (PA), and on which conditions that can be.

        While one is taken, ``asking.model`` is of that way.

        :raises CannotProve: a branch to a register that goes to too many places
        """
        model = self.asking.model
        if not isinstance(step, Goes):
            yield pc + 4, True
        elif isinstance(step.to, int):
            for to, condition in ((step.to, step.condition), (pc + 4, bits.negate(step.condition))):
                self.asking.model = model
                if self.asking.can_be(condition):
                    yield to, condition
        else:
            found = self.asking.values(step.to, True, _TARGETS_MAX)
            if found is None:
                raise CannotProve(f"a branch at {pc:#x} to more than {_TARGETS_MAX} places")
            for value in found:
                self.asking.model = model
                condition = bits.equal(step.to, value, 64)
                if self.asking.can_be(condition):
                    yield value, condition

    def ends(self, state: State) -> Iterator[Proposal]:
        """Yield what breaks a promise at the exit where ``state`` is."""
        self.counts.longest = max(self.counts.longest, state.retired_max)
        self.counts.paths += 1
        for duty in at_exit(state, self.given, self.target, self.situation):
            yield from self.breaks(duty)

    def goes_on(self, words: str) -> Iterator[Proposal]:
        """Yield what is broken where the path never comes to an exit."""
        self.counts.paths += 1
        yield from self.breaks(without_exit(words, self.target, self.situation))

    def breaks(self, duty: Duty) -> Iterator[Proposal]:
        """Yield a proposal, when the duty can be broken on the path so far."""
        model = self.asking.model
        if self.asking.can_be(bits.negate(duty.holds)):
            now = self.asking.now
            question = self.situation.question(now)
            yield Proposal(duty.prop, duty.words, question, start_of(self.given, self.target, now))
        self.asking.model = model

    def _values(self, value: z3.BitVecRef, condition: Truth) -> list[int] | None:
        if any(each.get_id() in self.many for each in bits.symbols(value)):
            return None
        return self.asking.values(value, condition)

    def _word(self, pc: int) -> int | None:
        if pc not in self._words:
            for segment in self.target.subject.segments:
                at = pc - segment.pa
                if 0 <= at <= len(segment.data) - 4 and not pc & 3:
                    self._words[pc] = int.from_bytes(segment.data[at : at + 4], "little")
        return self._words.get(pc)
