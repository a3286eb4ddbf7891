"""Walks: what is known of the state before is as good as asking anew, and memory is as the states have it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from emu.case import Case
from emu.errors import Untestable
from emu.explore.along import Along
from emu.explore.explorer import explore_case
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import NoJudge
from emu.explore.local_state import Edge, LocalState
from emu.explore.reduction import EnabledSet
from emu.explore.search import Bounds
from emu.explore.transition_system import TransitionSystem
from emu.explore.walk import walk_once

PARTS = ("enabled", "expired", "wakes", "turning", "plain", "actors", "everybody")
CASES = [
    (Case("v3", topology="flat:6"), 0, False),
    (Case("v3", topology="flat:4"), 2, True),
    (Case("v3", topology="flat:4", enable_method="spin-table", bringup="serial"), 0, False),
    (Case("v3", topology="flat:4", enable_method="spin-table", bringup="serial"), 1, True),
    (Case("v3", topology="flat:3", memory="caches", fault="2:no-clean"), 1, False),
    (Case("mainline", topology="flat:4", bringup="parallel", force=1), 1, True),
    (Case("v2", topology="flat:4", fault="2:no-granule"), 0, False),
    (Case("v3", topology="flat:4", fault="2:late:5"), 0, False),
]


class Compares(NoJudge):
    """Holds each enabled set to one that is made of nothing, and memory to the cells."""

    def __init__(self, early: int, spurious: bool) -> None:
        self._bounds = early, spurious
        self.states = 0

    def state(
        self, system: TransitionSystem, state: GlobalState, moves: EnabledSet, path: list[Transition]
    ) -> bool:
        """Compare."""
        self.states += 1
        anew = EnabledSet(system, state, *self._bounds)
        for name in PARTS:
            got, wanted, steps = getattr(moves, name), getattr(anew, name), len(path)
            assert got == wanted, (name, steps)
        return False


@pytest.mark.parametrize(("case", "early", "spurious"), CASES)
def test_what_can_be_done_is_what_it_is_when_asked_anew(case: Case, early: int, spurious: bool) -> None:
    explorer, _ = explore_case(case)
    judge = Compares(early, spurious)
    bounds = Bounds(early=early, spurious=spurious, depth=600)
    for number in range(3):  # the first ones bring up new places
        walk_once(explorer.system(mirrors=True), f"random:{number}", bounds, judge)
    assert judge.states > 300


@pytest.mark.parametrize(("case", "early", "spurious"), CASES[::2])
def test_a_scheduler_is_given_all_that_can_move(case: Case, early: int, spurious: bool) -> None:
    explorer, _ = explore_case(case)
    walk_once(explorer.system(mirrors=True), "random", Bounds(depth=600), NoJudge())
    system = explorer.system(mirrors=True)
    along, state, draw, steps = Along(system, early, spurious), system.first(), random.Random(1), []
    while len(steps) < 500 and (moves := along.moves(state)).enabled:
        can_move = moves.everybody & ~moves.turning
        wanted = [each for each in range(moves.actors) if can_move >> each & 1]
        assert along.movable == wanted
        state, undo, transition = moves.options(draw.choice(along.movable))[-1]()
        along.took(transition, undo)
        steps.append(undo)
    assert len(steps) > 100


def is_as_at_the_start(system: TransitionSystem) -> bool:
    """Tell whether each word that the steps have had to do with has its value of then, on the machine too."""
    memory, cells = system.stepper.machine.memory, system.cells
    assert cells._initial
    return not cells.stored and all(
        memory.read(number << 3, 8) == value for number, value in cells._initial.items()
    )


def test_memory_follows_a_walk_and_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer, _ = explore_case(Case("v3", topology="flat:3"))
    system = explorer.system(mirrors=True)
    memory, seen = explorer.stepper.machine.memory, Counter[str]()
    run = explorer.stepper._run

    def checked(local: LocalState, observation: object) -> Edge:
        for number, value in system.cells.stored.items():
            assert memory.read(number << 3, 8) == value
            seen["changed"] += value != system.cells.initial(number)
        return run(local, observation)

    monkeypatch.setattr(explorer.stepper, "_run", checked)
    walk_once(system, "random:3", Bounds(), NoJudge())
    assert seen["changed"] > 200
    assert is_as_at_the_start(system)


def test_memory_is_put_back_when_a_walk_cannot_go_on() -> None:
    explorer, _ = explore_case(Case("v3", topology="flat:3"))
    system = explorer.system(mirrors=True)

    class Stops(NoJudge):
        def state(
            self, system: TransitionSystem, state: GlobalState, moves: EnabledSet, path: list[Transition]
        ) -> bool:
            if len(path) == 90:
                raise Untestable("enough")
            return False

    with pytest.raises(Untestable, match="enough"):
        walk_once(system, "random", Bounds(), Stops())
    assert is_as_at_the_start(system)


@pytest.mark.parametrize("scheduler", ["random", "pct:1:3:100000"])
def test_the_cost_of_a_step_does_not_grow_with_the_number_of_cpus(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few actors are asked in each state, whether there are 8 CPUs or 32."""
    per_step = []
    for cpus in (8, 32):
        explorer, _ = explore_case(Case("v3", topology=f"flat:{cpus}"))
        asked = Counter[str]()
        can_step: Callable[[TransitionSystem, GlobalState, int], bool] = TransitionSystem.can_step

        def counted(
            system: TransitionSystem,
            state: GlobalState,
            cpu: int,
            asked: Counter[str] = asked,
            can_step: Callable[[TransitionSystem, GlobalState, int], bool] = can_step,
        ) -> bool:
            asked["can"] += 1
            return can_step(system, state, cpu)

        with monkeypatch.context() as patch:
            patch.setattr(TransitionSystem, "can_step", counted)
            steps, ended = walk_once(explorer.system(mirrors=True), scheduler, Bounds(), NoJudge())
        assert ended
        per_step.append(asked["can"] / steps)
    assert per_step[1] < 2 * per_step[0]
