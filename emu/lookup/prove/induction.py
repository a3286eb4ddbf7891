"""A look-up for tables as long as NR_CPUS, by induction over the rounds of its loops.

Paths are followed as in :mod:`emu.lookup.prove.paths`, but a loop is gone through once, from a state that
stands for that before any round (:mod:`emu.lookup.prove.invariant`): the facts of the invariant hold before
the first round, and after a round when they held before it, or they are dropped. With those that are left,
the solver is asked whether the round breaks what it must keep to, and an exit what has to hold there. The
effort does not depend on NR_CPUS.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import z3

from emu.arch import a64
from emu.lookup.constants import code_words
from emu.lookup.prove import bits
from emu.lookup.prove.asking import CannotProve, Counts
from emu.lookup.prove.bits import Value
from emu.lookup.prove.entries import Entries
from emu.lookup.prove.invariant import Invariant, table_facts
from emu.lookup.prove.paths import Loop, Path
from emu.lookup.prove.solver import Solver
from emu.lookup.prove.state import Goes, State, Step
from emu.lookup.prove.walk import Proposal, Walk
from emu.lookup.target import Target

_ROUND_MAX = 4_000  # instructions of all ways through one round
_PEELED_MAX = 2  # first rounds that are followed by themselves
_TRIES_MAX = 40  # guesses of one invariant
_FIRST = 20_000  # effort of the incremental solver, which is mostly the slower one with functions
_DEPTH_MAX = 6  # loops one after the other


class Induction:
    """The loops of one target, and the paths between them.

    :ivar loops: those that were gone through; one that is entered by several paths is there for each
    """

    def __init__(self, target: Target, *, quick: bool = False) -> None:
        """Begin at the entry; ``quick`` is that of :class:`emu.lookup.prove.solver.Solver`.

        :raises CannotProve: a table or a model that has no induction here
        """
        self.loops: list[Loop] = []
        self._entries = Entries(target)
        self._walk = Walk(target, self._entries, Solver(quick=quick, logic="QF_UFBV", first=_FIRST))
        self._by_register: set[int] = set()  # PAs that branches to a register go to
        self._find_loops()
        self._serial = 0  # of the loop that was entered last

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._walk.counts

    def run(self) -> Iterator[Proposal | None]:
        """Go through all paths and loops; yield proposals, and None now and then.

        :raises CannotProve: an instruction without semantics, a bound, or a loop without an invariant
        """
        asking = self._walk.asking
        if asking.can_be(True):
            yield from self._follow(Path(self._walk.given.copy(), (), 0, asking.now), ())

    def _follow(self, begin: Path, loops: tuple[int, ...]) -> Iterator[Proposal | None]:
        # All paths from there; those that come back to a loop they are in end there.
        walk, todo = self._walk, [begin]
        while todo:
            path = todo.pop()
            walk.asking.hold(path.conditions, path.model)
            state = path.state
            while True:
                if walk.is_exit(state.pc):
                    yield from walk.ends(state)
                    break
                if state.pc in self._heads and path is not begin:
                    if state.pc not in loops:
                        yield from self._loop(self._here(path), loops, 0)
                    break
                if walk.counts.steps >= _ROUND_MAX * 100:
                    raise CannotProve("more instructions than an induction may have")
                step = yield from walk.step(state)
                if step is False:
                    break
                if words := walk.stays(step, state.pc):
                    yield from walk.goes_on(words)
                    break
                path = self._here(path)
                if isinstance(step, Goes):
                    todo += self._ways(step, path)
                    break
                state.pc += 4
            yield None

    def _find_loops(self) -> None:
        self._words = words = dict(code_words(self._walk.target, self._by_register))
        self._heads = _heads(words)
        self._inside = {head: _reaching(words, head) for head in self._heads}

    def _ways(self, step: Step, path: Path) -> list[Path]:
        # Code that only a branch to a register leads to has loops too: they are looked for when it is met.
        walk, pc = self._walk, path.state.pc
        found = [path.goes(to, condition, walk.asking.now) for to, condition in walk.ways(step, pc)]
        new = {each.state.pc for each in found} - self._words.keys()
        new = {to for to in new - self._by_register if not walk.is_exit(to)}
        if new:
            self._by_register |= new
            self._find_loops()
        return found

    def _here(self, path: Path) -> Path:
        return replace(path, conditions=self._walk.asking.held, model=self._walk.asking.now)

    def _loop(self, entry: Path, loops: tuple[int, ...], peeled: int) -> Iterator[Proposal | None]:
        head = entry.state.pc
        if len(loops) >= _DEPTH_MAX:
            raise CannotProve(f"{self._name(head)}: a loop after {_DEPTH_MAX} others")
        back, _ = self._round(replace(entry, state=entry.state.copy()), head)
        within = (*loops, head)
        if not back or any(path.state.event != entry.state.event for path in back):
            yield from self._follow(replace(entry, state=entry.state.copy()), within)
            if back and peeled >= _PEELED_MAX:
                raise CannotProve(f"{self._name(head)}: each round is another one")
            for path in back:
                yield from self._loop(path, loops, peeled + 1)
            return
        invariant, again, leaves = self._invariant(entry, [path.state for path in back], head)
        begin = self._general(entry, invariant)
        yield None
        if not leaves:
            self._walk.asking.hold(begin.conditions, begin.model)
            yield from self._walk.goes_on("goes round for ever")
            return
        rounds_max = invariant.rounds_max
        begin.state.retired_max = entry.state.retired_max + invariant.longest * (rounds_max or 0)
        yield from self._follow(begin, within)
        if rounds_max is None:
            for path in again:
                self._walk.asking.hold(path.conditions, path.model)
                yield from self._walk.goes_on("goes round without end")
            raise CannotProve(f"{self._name(head)}: nothing bounds the rounds of the loop")
        va = (head + self._walk.target.subject.va_offset) % 2**64
        words = dict.fromkeys(fact.words for fact in invariant.facts if fact.words)
        self.loops.append(Loop(va, rounds_max + 1, tuple(words)))

    def _general(self, entry: Path, invariant: Invariant) -> Path:
        # The state before any round, where the facts hold.
        self._walk.many |= {each.get_id() for each in (invariant.rounds, *invariant.unknown)}
        facts = [bits.boolean(fact.holds(invariant.state, invariant.rounds)) for fact in invariant.facts]
        known = [each for each in facts if not z3.is_true(each)]
        path = Path(invariant.state.copy(), (*entry.conditions, *known), 0, entry.model)
        self._walk.asking.hold(path.conditions, None)
        possible = self._walk.asking.can_be(True)
        assert possible, "the facts hold before the first round"
        return replace(path, model=self._walk.asking.now)

    def _invariant(self, entry: Path, back: list[State], head: int) -> tuple[Invariant, list[Path], bool]:
        # The facts that hold before the first round and after each; the ways round; and whether others leave.
        target = self._walk.target
        self._serial += 1
        invariant = Invariant(entry.state, back, self._serial, target)
        self._walk.around.loads.clear()
        again, _ = self._round(self._general(entry, invariant), head)
        invariant.longest = max((_added(path.state, entry.state) for path in again), default=0)
        invariant.facts += tuple(table_facts(invariant, self._walk.around.loads, self._entries, target))
        self._drop_wrong(invariant, entry, 0)
        for _ in range(_TRIES_MAX):
            invariant.generalise()
            again, leaves = self._round(self._general(entry, invariant), head)
            before = invariant.facts
            if any(path.state.event != entry.state.event for path in again):
                raise CannotProve(f"{self._name(head)}: the event register is not the same in each round")
            if invariant.widen(path.state for path in again):
                continue
            for path in again:
                self._drop_wrong(invariant, path, bits.add(invariant.rounds, 1, 64))
            if invariant.facts == before:
                self._check_longest(invariant, again, head)
                return invariant, again, leaves
        raise CannotProve(f"{self._name(head)}: no invariant of the loop within {_TRIES_MAX} guesses")

    def _drop_wrong(self, invariant: Invariant, path: Path, rounds: Value) -> None:
        # Keep the facts that hold on this path after so many rounds.
        asking = self._walk.asking
        asking.hold(path.conditions, path.model)
        said = [(fact, fact.holds(path.state, rounds)) for fact in invariant.facts]
        while asking.can_be(bits.negate(bits.every(*(holds for _, holds in said)))):
            model = asking.now
            said = [
                (fact, holds) for fact, holds in said if z3.is_true(model.eval(bits.boolean(holds), True))
            ]
            asking.model = path.model
        invariant.facts = tuple(fact for fact, _ in said)

    def _check_longest(self, invariant: Invariant, again: list[Path], head: int) -> None:
        asking = self._walk.asking
        for path in again:
            asking.hold(path.conditions, path.model)
            most = invariant.longest_after(bits.add(invariant.rounds, 1, 64))
            if asking.can_be(bits.below(most, path.state.retired, 64)):
                raise CannotProve(f"{self._name(head)}: nothing bounds the instructions of a round")

    def _round(self, begin: Path, head: int) -> tuple[list[Path], bool]:
        # The paths from there that come to the head again, and whether others leave the loop.
        walk, todo, found, leaves = self._walk, [begin], [], False
        steps, inside = walk.counts.steps, self._inside[head]
        is_first = True
        while todo:
            path = todo.pop()
            walk.asking.hold(path.conditions, path.model)
            state = path.state
            while True:
                if state.pc == head and not is_first:
                    found.append(self._here(path))
                    break
                is_first = False
                if walk.is_exit(state.pc) or (state.pc in self._words and state.pc not in inside):
                    leaves = True
                    break
                if walk.counts.steps - steps > _ROUND_MAX:
                    raise CannotProve(
                        f"{self._name(head)}: a loop with too many ways round, or with one within"
                    )
                step = _end_of(walk.step(state, judged=False))
                if step is False or walk.stays(step, state.pc):
                    leaves = True
                    break
                path = self._here(path)
                if isinstance(step, Goes):
                    todo += self._ways(step, path)
                    break
                state.pc += 4
        return found, leaves

    def _name(self, pc: int) -> str:
        subject = self._walk.target.subject
        return subject.symbols.describe((pc + subject.va_offset) % 2**64)


def _end_of(steps: Generator[Proposal, None, Step | Literal[False]]) -> Step | Literal[False]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Step | Literal[False] = end.value
            return found


def _added(state: State, before: State) -> int:
    found = bits.sub(state.retired, before.retired, 64)
    return found if isinstance(found, int) else 0


def _heads(words: Mapping[int, int]) -> frozenset[int]:
    # Where loops begin: PAs that a branch goes back to.
    found = ((pa, a64.branch_target(word, pa)) for pa, word in words.items())
    return frozenset(to for pa, to in found if to is not None and to <= pa)


def _reaching(words: Mapping[int, int], head: int) -> frozenset[int]:
    # PAs from which the head can be reached; a branch to a register may go anywhere.
    before: dict[int, list[int]] = {}
    for pa, word in words.items():
        to = a64.branch_target(word & 0x7FFF_FFFF if word >> 26 == 0x25 else word, pa)
        for after in (to, pa + 4 if word >> 26 != 5 else None):
            if after is not None:
                before.setdefault(after, []).append(pa)
    found: set[int] = set()
    todo = [head, *(pa for pa, word in words.items() if word >> 25 == 0x6B)]
    while todo:
        pa = todo.pop()
        if pa not in found:
            found.add(pa)
            todo += before.get(pa, ())
    return frozenset(found)
