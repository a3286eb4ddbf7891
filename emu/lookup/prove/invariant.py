"""What is the same in each round of a loop, or goes by a constant step: guessed, then held to the solver.

After ``rounds`` rounds a register is what it was before the first plus ``rounds`` times its step, or it is
unknown. The entries of the table on one side of the one that is loaded next do not match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import z3

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.entries import Entries
from emu.lookup.prove.flags import Plain
from emu.lookup.prove.situation import Table
from emu.lookup.prove.state import SP, State
from emu.lookup.target import Target

_U64 = 64
_ROUNDS_MAX = 1 << 32  # no number of rounds that is guessed is larger


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that may hold before each round.

    :ivar words: how a report says it; nothing: it does not
    :ivar of: the part of the state that it tells (``x3``, ``flags``, ``daif``, ``stack-8``); nothing: none
    :ivar rounds_max: no more rounds than that are done before it; -1: it says nothing of that
    :ivar holds: tells whether it holds in a state after so many rounds (64 bits)
    """

    words: str
    holds: Callable[[State, Value], Truth]
    of: str = ""
    rounds_max: int = -1


class Invariant:
    """The invariant of one loop, as it is entered by one path.

    :ivar entry: the state before the first round
    :ivar rounds: a symbol for the number of rounds that are done (64 bits)
    :ivar state: the state before any round
    :ivar unknown: symbols in it for what no fact tells
    :ivar longest: instructions of a round, at most
    :ivar facts: those that are not known to be wrong
    """

    def __init__(self, entry: State, back: Sequence[State], serial: int, target: Target) -> None:
        """Guess by the states after one round, without facts of tables."""
        self.entry, self._name = entry, f"loop{serial}"
        self.rounds: z3.BitVecRef = z3.BitVec(f"rounds{serial}", _U64)
        self.longest = 0
        self._stack_top = target.stack_top
        self._stack = sorted({pa for each in back for pa in each.stored or {}} | {*(entry.stored or {})})
        self.steps = [_step_of(entry, back, number) for number in range(32)]
        self.facts: tuple[Fact, ...] = (*self._state_facts(back),)
        self.generalise()

    @property
    def rounds_max(self) -> int | None:
        """Rounds that are done before another one begins, at most; None: not known."""
        return min((fact.rounds_max for fact in self.facts if fact.rounds_max >= 0), default=None)

    def longest_after(self, rounds: Value) -> Value:
        """Return the instructions before so many rounds and in them, at most."""
        return _moved(self.entry.retired, self.longest, rounds)

    def generalise(self) -> None:
        """Set the state: that before any round, with new symbols for what no fact tells any more."""
        told = {fact.of for fact in self.facts}
        self.unknown: list[z3.ExprRef] = []
        state = self.entry.copy()
        assert state.stored is not None
        for number in range(32):
            name = f"x{number}"
            state.x[number] = self._after(number, self.rounds) if name in told else self._symbol(name, _U64)
        if "flags" not in told:
            negative, zero, carry, overflow = (z3.Bool(f"{self._name}-{letter}") for letter in "nzcv")
            self.unknown += negative, zero, carry, overflow
            state.flags = Plain((negative, zero, carry, overflow))
        if "daif" not in told:
            state.daif = bits.both(self._symbol("daif", _U64), 0x3C0, _U64)
        for pa in self._stack:
            name = self._stack_name(pa)
            state.stored[pa] = self._stack_before(pa) if name in told else self._symbol(name, 8)
        state.retired = self.longest_after(self.rounds)
        self.state = state

    def widen(self, states: Iterable[State]) -> bool:
        """Let bytes of the stack that only these states have be unknown; tell whether there are some."""
        found = {pa for state in states for pa in state.stored or {}} - {*self._stack}
        self._stack = sorted({*self._stack} | found)
        return bool(found)

    def _symbol(self, what: str, width: int) -> z3.BitVecRef:
        found: z3.BitVecRef = z3.BitVec(f"{self._name}-{what}", width)
        self.unknown.append(found)
        return found

    def _after(self, number: int, rounds: Value) -> Value:
        return _moved(self.entry.x[number], self.steps[number] or 0, rounds)

    def _stack_name(self, pa: int) -> str:
        return f"stack{pa - self._stack_top}"

    def _stack_before(self, pa: int) -> Value:
        first: Value = z3.BitVec(self._stack_name(pa), 8)
        return (self.entry.stored or {}).get(pa, first)

    def _state_facts(self, back: Sequence[State]) -> Iterator[Fact]:
        entry = self.entry
        for number, step in enumerate(self.steps):
            if step is not None:
                yield Fact(self._register_words(number), self._goes(number), f"x{number}")
        if all(bits.is_same(state.daif, entry.daif) for state in back):
            yield Fact("", lambda state, _: bits.equal(state.daif, entry.daif, _U64), "daif")
        if all(state.flags is entry.flags for state in back):
            yield Fact(
                "", lambda state, _: bits.every(*map(bits.same, state.flags.nzcv, entry.flags.nzcv)), "flags"
            )
        for pa in self._stack:
            before = self._stack_before(pa)
            if all(bits.is_same((state.stored or {}).get(pa, before), before) for state in back):
                yield Fact("", self._keeps(pa), self._stack_name(pa))

    def _goes(self, number: int) -> Callable[[State, Value], Truth]:
        return lambda state, rounds: bits.equal(state.x[number], self._after(number, rounds), _U64)

    def _keeps(self, pa: int) -> Callable[[State, Value], Truth]:
        before = self._stack_before(pa)
        return lambda state, _: bits.equal((state.stored or {}).get(pa, before), before, 8)

    def _register_words(self, number: int) -> str:
        step, first = self.steps[number], self.entry.x[number]
        if not step or number == SP:
            return ""
        by = bits.signed(step, _U64)
        return f"x{number} = {_times(first, by)}" if isinstance(first, int) else f"x{number} goes by {by}"


def table_facts(
    invariant: Invariant, loads: Sequence[tuple[Table, Value]], entries: Entries, target: Target
) -> Iterator[Fact]:
    """Yield what may hold of the table and of the number of rounds, by the bytes that a round loads."""
    rounds, unknown = invariant.rounds, {each.get_id() for each in invariant.unknown}
    counts = sorted({placed.count for placed in target.tables})
    yield from _round_facts(invariant, counts)
    seen: list[Callable[[Value], Truth]] = []
    for table, offset in loads:
        if isinstance(offset, int) or any(each.get_id() in unknown for each in bits.symbols(offset)):
            continue
        at, element = _at(offset, rounds), table.element
        step = bits.sub(at(1), at(0), _U64)
        if not isinstance(step, int) or not step:
            continue
        forward = bits.signed(step, _U64) > 0
        # The byte that is loaded next, or the one behind the entry: what is on the other side was loaded.
        edge = at if forward else _behind(at, element)
        for most in (element * table.placed.count, element * (table.placed.count - 1)):
            yield Fact("", _at_most(edge, most))
        visited = _visited(edge, entries.any_entry, element, forward=forward)
        seen.append(visited)
        yield Fact(_no_match_words(at, element, forward=forward), _no_match(visited, entries))
    index = int(target.contract.index[1:])
    if invariant.steps[index] is None:  # what is found is kept while the rounds go on
        first = invariant.entry.x[index]
        none_yet = Fact(
            f"x{index} is as before, or the number of an entry that matches",
            lambda state, _: bits.some(
                bits.equal(state.x[index], first, _U64), entries.matches(state.x[index])
            ),
        )
        yield none_yet
        for visited in seen:
            yield Fact(
                f"x{index} is the number of the entry that matched", _kept_match(visited, entries, index)
            )


def _round_facts(invariant: Invariant, counts: Sequence[int]) -> Iterator[Fact]:
    # How many rounds there may be: by the length of a table, or by a register that counts.
    ends: set[int] = set()
    for number, step in enumerate(invariant.steps):
        if not step:
            continue
        size = abs(bits.signed(step, _U64))
        for whole in (each for count in counts for each in (count, 8 * count)):
            ends |= {whole // size, -(-whole // size)}
        first = invariant.entry.x[number]
        if isinstance(first, int):
            away = -first % 2**64 if bits.signed(step, _U64) > 0 else first
            ends |= {away // size, -(-away // size)}
    ends |= {*counts}
    for end in sorted(end for end in ends if end < _ROUNDS_MAX):
        for most in (end - 1, end):
            if most >= 0:
                yield Fact("", _rounds_at_most(most), rounds_max=most)


def _rounds_at_most(most: int) -> Callable[[State, Value], Truth]:
    return lambda _, rounds: bits.negate(bits.below(most, rounds, _U64))


def _moved(first: Value, step: int, rounds: Value) -> Value:
    return bits.add(first, bits.mul(rounds, step, _U64), _U64) if step else first


def _step_of(entry: State, back: Sequence[State], number: int) -> int | None:
    # What a round adds to a register, when it is the same number on all ways round.
    before = entry.x[number]
    found = {
        0 if bits.is_same(before, state.x[number]) else bits.sub(state.x[number], before, _U64)
        for state in back
    }
    step = found.pop()
    return step if not found and isinstance(step, int) else None


def _at(number: z3.BitVecRef, rounds: z3.BitVecRef) -> Callable[[Value], Value]:
    return lambda other: bits.simple(z3.substitute(number, (rounds, bits.bv(other, _U64))))


def _behind(at: Callable[[Value], Value], element: int) -> Callable[[Value], Value]:
    return lambda rounds: bits.add(at(rounds), element, _U64)


def _at_most(at: Callable[[Value], Value], most: int) -> Callable[[State, Value], Truth]:
    return lambda _, rounds: bits.negate(bits.below(most, at(rounds), _U64))


def _visited(
    edge: Callable[[Value], Value], entry: z3.BitVecRef, element: int, *, forward: bool
) -> Callable[[Value], Truth]:
    # Whether an entry, of fewer than 2^32, is on the side of the edge that was loaded.
    def tell(rounds: Value) -> Truth:
        below = bits.below(bits.mul(entry, element, _U64), edge(rounds), _U64)
        return bits.every(bits.below(entry, _ROUNDS_MAX, _U64), below if forward else bits.negate(below))

    return tell


def _no_match(visited: Callable[[Value], Truth], entries: Entries) -> Callable[[State, Value], Truth]:
    return lambda _, rounds: bits.some(
        bits.negate(visited(rounds)), bits.negate(entries.matches(entries.any_entry))
    )


def _kept_match(
    visited: Callable[[Value], Truth], entries: Entries, index: int
) -> Callable[[State, Value], Truth]:
    return lambda state, rounds: bits.some(
        bits.negate(visited(rounds)),
        bits.negate(entries.matches(entries.any_entry)),
        bits.equal(state.x[index], entries.any_entry, _U64),
    )


def _no_match_words(at: Callable[[Value], Value], element: int, *, forward: bool) -> str:
    first, second = at(0), at(1)
    side = "below" if forward else "above"
    if not isinstance(first, int) or not isinstance(second, int) or first % element or second % element:
        return f"no entry {side} the one that is loaded next matches"
    step = bits.signed(second - first & bits.mask(_U64), _U64) // element
    return f"no entry {side} {_times(first // element, step)} matches"


def _times(first: int, step: int) -> str:
    times = "rounds" if abs(step) == 1 else f"{abs(step)} * rounds"
    if not first and step > 0:
        return times
    first = bits.signed(first, _U64)
    return f"{first if abs(first) <= 4096 else f'{first:#x}'} {'+' if step > 0 else '-'} {times}"
