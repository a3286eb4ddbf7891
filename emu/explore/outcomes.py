"""The set of outcomes of an exploration: what some expressions are at all ends, with a schedule for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.explore.coverage import Coverage, coverage_of
from emu.explore.ends import Ends, EndState, See, find_ends
from emu.explore.explorer import Explorer
from emu.explore.registers import Registers
from emu.explore.search import Bounds, Count
from emu.explore.watch import pc_of
from emu.properties.evaluate import value_of
from emu.properties.expression import Expression
from emu.schedulers import Pick

Values = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OutcomeSet:
    """All outcomes.

    :ivar picks: by the values of the expressions (u64 each), in ascending order, a schedule that ends so
    :ivar ends: what the search came to
    :ivar coverage: what they are about
    """

    picks: dict[Values, tuple[Pick, ...]]
    ends: Ends
    coverage: Coverage


def find_outcomes(
    explorer: Explorer,
    expressions: Sequence[Expression],
    bounds: Bounds,
    tell: Callable[[Count, int], bool] = lambda _count, _depth: False,
) -> OutcomeSet:
    """Return what resolved expressions are at the ends of all schedules."""
    rounds: list[dict[Values, tuple[Pick, ...]]] = []
    registers = Registers(explorer.stepper.machine)

    def begin() -> See:
        found: dict[Values, tuple[Pick, ...]] = {}
        rounds.append(found)

        def see(end: EndState) -> None:
            view = _View(end, registers)
            values = tuple(value_of(expression, view, -1) for expression in expressions)
            if values not in found:
                found[values] = tuple(transition.pick for transition in end.path)

        return see

    ends = find_ends(explorer, bounds, begin, tell)
    covered = coverage_of(explorer.stepper, failures=bounds.failures, early=bounds.early)
    return OutcomeSet(dict(sorted(rounds[-1].items())), ends, covered)


@dataclass(frozen=True, slots=True)
class _View:
    # An end as an expression looks at it (:class:`emu.properties.evaluate.View`).
    end: EndState
    registers: Registers

    def word(self, pa: int, size: int) -> int:
        return self.end.memory(pa, size)

    def register(self, cpu: int, number: int) -> int:
        return self.registers.of(self.end.locals[cpu])[number]

    def pc(self, cpu: int) -> int:
        return pc_of(self.end.locals[cpu])
