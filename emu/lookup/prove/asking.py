"""The solver on a path: what holds on it, and what can hold beside that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import z3

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth
from emu.lookup.prove.solver import Solver

_VALUES_MAX = 256  # of an address that is not of a table of the contract


@dataclass(slots=True)
class Counts:
    """What was done so far.

    :ivar paths: that came to an end
    :ivar longest: instructions of the longest path to an exit, at most
    """

    paths: int = 0
    steps: int = 0
    queries: int = 0
    longest: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return what both are together."""
        longest = max(self.longest, other.longest)
        return Counts(
            self.paths + other.paths, self.steps + other.steps, self.queries + other.queries, longest
        )


class CannotProve(Exception):
    """The reason why nothing can be said, in words.

    :ivar unknown: VA and word (u32) of the instruction without semantics, when that is the reason
    """

    unknown: tuple[int, int] | None = None


class Asking:
    """A solver with the conditions of the path under way.

    :ivar model: symbols for which the path is taken; None: not known yet
    """

    def __init__(self, solver: Solver, counts: Counts) -> None:
        self.model: z3.ModelRef | None = None
        self._solver = solver
        self._counts = counts
        self._held: list[z3.BoolRef] = []  # conditions of the path, as the solver has them

    @property
    def now(self) -> z3.ModelRef:
        """The model, of a path that can be taken."""
        assert self.model is not None
        return self.model

    @property
    def held(self) -> tuple[z3.BoolRef, ...]:
        """The conditions of the path."""
        return tuple(self._held)

    def hold(self, conditions: Sequence[z3.BoolRef], model: z3.ModelRef | None) -> None:
        """Begin with another path; what the solver has of its conditions stays."""
        same = 0
        for one, two in zip(self._held, conditions, strict=False):
            if not one.eq(two):
                break
            same += 1
        if len(self._held) > same:
            self._solver.pop(len(self._held) - same)
        del self._held[same:]
        for condition in conditions[same:]:
            self.take(condition)
        self.model = model

    def take(self, condition: Truth) -> None:
        """Let the condition hold on the path from here."""
        if condition is not True:
            self._held.append(bits.boolean(condition))
            self._solver.push()
            self._solver.add(self._held[-1])

    def can_be(self, condition: Truth) -> bool:
        """Tell whether it can hold on the path so far; then ``model`` is one in which it does.

        :raises CannotProve: the solver has given up
        """
        if condition is False:
            return False
        model = self.model
        if model is not None and (condition is True or z3.is_true(model.eval(condition, True))):
            return True
        self._solver.push()
        self._solver.add(bits.boolean(condition))
        found = self._ask()
        self._solver.pop()
        return found

    def possible(self, condition: Truth) -> bool:
        """Tell whether it can hold on the path so far; ``model`` stays.

        :raises CannotProve: the solver has given up
        """
        model = self.model
        found = self.can_be(condition)
        self.model = model
        return found

    def values(self, value: z3.BitVecRef, condition: Truth, most: int = _VALUES_MAX) -> list[int] | None:
        """Return all values that it can have on the path where the condition holds; None: more than ``most``.

        :raises CannotProve: the solver has given up
        """
        model = self.model
        found: list[int] = []
        self._solver.push()
        self._solver.add(bits.boolean(condition))
        while len(found) <= most and self._ask():
            found.append(int(self.now.eval(value, True).as_long()))
            self._solver.add(value != found[-1])
        self._solver.pop()
        self.model = model
        return found if len(found) <= most else None

    def _ask(self) -> bool:
        self._counts.queries += 1
        found = self._solver.check()
        if found is None:
            raise CannotProve("z3 has given up a question of it: too much work")
        if found is False:
            return False
        self.model = found
        return True
