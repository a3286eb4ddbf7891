"""Questions to z3: two of its solvers, since what takes one of them a minute the other has at once.

The incremental one keeps what it learned from question to question: ten times as fast where paths differ in a
comparison or two. The one for bit vectors begins with each question: faster where one path has all in it.
Effort is counted in z3's own units and no seconds: the same proof ends the same everywhere.
"""

from __future__ import annotations

from typing import Literal

import z3

_FIRST, _BITS, _LAST = 2_000_000, 50_000_000, 50_000_000  # effort of one question: up to a minute or so
_FIRST_QUICK, _BITS_QUICK = 200_000, 10_000_000
_ALL_QUICK = 12_000_000  # of all questions of a quick proof; those of a usual look-up take 3,000,000 at most
_HARD_MAX = 200  # questions of one proof that the first attempt gives up
_LOST_MAX = 2  # questions in a row that the incremental one gives up, before it is no longer asked first


def begin_anew() -> None:
    """Have what is made of terms from now on begin as in a new process.

    What z3 proposes depends on which terms its context has, those of earlier proofs too until Python's
    collector comes by. Terms that were made before cannot be joined with later ones.
    """
    z3.z3._main_ctx = None


class Solver:
    """Assertions in scopes, as z3 has them.

    :ivar quick: give up after about a second for one question
    """

    def __init__(self, *, quick: bool = False, logic: str = "QF_BV", first: int | None = None) -> None:
        """Begin with no assertions.

        :param logic: of the solver that begins with each question, by its SMT-LIB name
        :param first: effort of the incremental one, which is asked before
        """
        self._solver = z3.Solver()
        self._lost = self._hard = self._spent = 0
        self._logic = logic
        self._first = first if first is not None else _FIRST_QUICK if quick else _FIRST
        self.quick = quick

    def add(self, *conditions: z3.BoolRef) -> None:
        """Assert them, in this scope."""
        self._solver.add(*conditions)

    def push(self) -> None:
        """Open a scope."""
        self._solver.push()

    def pop(self, scopes: int = 1) -> None:
        """Leave scopes."""
        self._solver.pop(scopes)

    def check(self) -> z3.ModelRef | Literal[False] | None:
        """Return a model of what is asserted, False when there is none, None when both give up."""
        if self._lost <= _LOST_MAX:
            found = self._by(self._solver, self._first)
            if found is not None:
                self._lost = 0
                return found
            self._lost += 1
        self._hard += 1
        if self._hard > _HARD_MAX or (self.quick and self._spent > _ALL_QUICK):
            return None
        other = z3.SolverFor(self._logic)
        other.add(*self._solver.assertions())
        found = self._by(other, _BITS_QUICK if self.quick else _BITS)
        self._spent = _spent(other)
        return self._by(self._solver, _LAST) if found is None and not self.quick else found

    @staticmethod
    def _by(solver: z3.Solver, effort: int) -> z3.ModelRef | Literal[False] | None:
        solver.set("rlimit", effort)
        answer = solver.check()
        if answer == z3.unknown:
            return None
        return solver.model() if answer == z3.sat else False


def _spent(solver: z3.Solver) -> int:
    # Effort of all solvers since begin_anew().
    found = solver.statistics()
    return next((int(value) for name, value in found if name == "rlimit count"), 0)
