"""What units of the memory model do by themselves, put off until an access needs it.

What a unit does by itself commutes with everything but the accesses to it. So a search lets it happen right
before an access, as a part of the step, and only where the step then has another result: what a later move
still brings about needs none now. Moves that no access follows are left to the ends (:func:`at_rest`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from emu.explore.global_state import GlobalState, Stepped, Transition
from emu.explore.transition_system import TransitionSystem
from emu.machine.actor import State
from emu.models.protocol import Note
from emu.operation import Kind

Step = Callable[[GlobalState], Stepped]
Moves = tuple[tuple[int, str], ...]  # unit, letter


class Reached(NamedTuple):
    """A state of the model that moves of one unit lead to: the moves, and what is noted on the way."""

    moves: Moves
    model: Hashable
    notes: tuple[Note, ...]


class Way(NamedTuple):
    """A way in which an actor can move: what units do before, and its step; None: it is blocked then."""

    moves: Moves
    step: Step | None


class UnitMoves:
    """The moves of the units in one round, looked up by the model's state."""

    def __init__(self, system: TransitionSystem) -> None:
        self._system = system
        self._reached: dict[tuple[Hashable, int], tuple[Reached, ...]] = {}
        self._settled: dict[tuple[Hashable, int], bool] = {}
        self._unsettled: dict[Hashable, int] = {}

    def reached(self, model: Hashable, unit: int) -> tuple[Reached, ...]:
        """Return what the moves of a unit can lead to, by the shortest ways, the model as it is first."""
        found = self._reached.get((model, unit))
        if found is None:
            found = self._reached[model, unit] = self._search(model, unit)
        return found

    def _search(self, model: Hashable, unit: int) -> tuple[Reached, ...]:
        explored = self._system.model
        first = Reached((), model, ())
        found: dict[tuple[Hashable, tuple[Note, ...]], Reached] = {(model, ()): first}
        work = [first]
        for reached in work:
            for letter in explored.choices(reached.model, unit):
                changed = explored.choose(reached.model, unit, letter)
                lost = tuple(note for note in changed.notes if note.kind is not Kind.LINE)
                after = Reached((*reached.moves, (unit, letter)), changed.state, (*reached.notes, *lost))
                if (after.model, after.notes) not in found:
                    found[after.model, after.notes] = after
                    work.append(after)
        return tuple(found.values())

    def unsettled(self, model: Hashable) -> int:
        """Return the bits of the units whose moves make a difference to a load."""
        bits = self._unsettled.get(model)
        if bits is None:
            footprints = self._system.footprints
            bits = 0
            for unit in range(len(self._system.model.units)):
                if not self._is_settled(model, unit):
                    bits |= footprints.over(footprints.unit(unit))
            self._unsettled[model] = bits
        return bits

    def _is_settled(self, model: Hashable, unit: int) -> bool:
        # Every load gives the same, and what the unit does can be undone by what it does.
        explored = self._system.model
        seen = explored.seen(model, 0, unit, False)
        for reached in self.reached(model, unit):
            if reached.notes or not self._leads_to(reached.model, model, unit):
                return False
            if any(explored.seen(reached.model, 0, unit, cacheable) != seen for cacheable in (False, True)):
                return False
        return True

    def _leads_to(self, model: Hashable, other: Hashable, unit: int) -> bool:
        return any(reached.model == other and not reached.notes for reached in self.reached(model, unit))

    def ways(
        self, state: GlobalState, units: Sequence[int], step: Step | None, can: Callable[[GlobalState], bool]
    ) -> list[Way]:
        """Return the ways in which a step that touches ``units`` has other results, fewest moves last.

        :param step: None: the moves of units alone
        :param can: whether the step can be taken in a state
        """
        if all(len(self.reached(state.model, unit)) == 1 for unit in units):
            return [Way((), step)] if can(state) else []
        results: list[tuple[Way, GlobalState, tuple[Note, ...]]] = []
        for moves, model, notes in self._combined(state.model, units):
            moved = state._replace(model=model)
            if not can(moved):
                continue
            if step is None:
                results.append((Way(moves, step), moved, notes))
                continue
            after, undo, transition = step(moved)
            self._system.undo(undo)
            noted = (*notes, *(note for note in transition.notes if note.kind is not Kind.LINE))
            results.append((Way(moves, step), after, noted))
        kept = [
            result[0]
            for number, result in enumerate(results)
            if not any(
                self._stands_for(other, result, units)
                and (index < number or not self._stands_for(result, other, units))
                for index, other in enumerate(results)
                if index != number
            )
        ]
        return kept[::-1]

    def _stands_for(
        self,
        one: tuple[Way, GlobalState, tuple[Note, ...]],
        other: tuple[Way, GlobalState, tuple[Note, ...]],
        units: Sequence[int],
    ) -> bool:
        # Whether the units can do behind the one step what they did before the other.
        if one[2] != other[2] or one[1]._replace(model=None) != other[1]._replace(model=None):
            return False
        return any(
            model == other[1].model and not notes for _, model, notes in self._combined(one[1].model, units)
        )

    def _combined(self, model: Hashable, units: Sequence[int]) -> Iterator[Reached]:
        # What moves of several units lead to, the fewest moves of each first.
        if not units:
            yield Reached((), model, ())
            return
        for first in self.reached(model, units[0]):
            for rest in self._combined(first.model, units[1:]):
                yield Reached((*first.moves, *rest.moves), rest.model, (*first.notes, *rest.notes))


def take(system: TransitionSystem, state: GlobalState, moves: Moves, path: list[Transition]) -> GlobalState:
    """Let units move; their transitions come to the end of ``path``."""
    for unit, letter in moves:
        state, undo, transition = system.choose(state, unit, letter)
        assert not undo, "a move of a unit stores nothing"
        path.append(transition)
    return state


def at_rest(system: TransitionSystem, unit_moves: UnitMoves, state: GlobalState) -> Iterator[Moves]:
    """Yield moves that no access follows and a rule can see: what they lose, or what a sleeper misses."""
    for unit in range(len(system.model.units)):
        for reached in unit_moves.reached(state.model, unit):
            if reached.notes:
                yield reached.moves
    for cpu, local in enumerate(state.locals):
        if local.state is State.WAITING:
            yield from _missed(system, unit_moves, state, cpu, frozenset())


def _missed(
    system: TransitionSystem, unit_moves: UnitMoves, state: GlobalState, cpu: int, moved: frozenset[int]
) -> Iterator[Moves]:
    # Moves of the units that a sleeper would look at, behind which it would go on.
    units: set[int] = set()
    if system.would_go_on(state, cpu, units) is not None:
        if moved:
            yield ()
        return
    for unit in sorted(units - moved):
        for reached in unit_moves.reached(state.model, unit)[1:]:
            after = state._replace(model=reached.model)
            for more in _missed(system, unit_moves, after, cpu, moved | {unit}):
                yield (*reached.moves, *more)
