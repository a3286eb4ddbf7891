"""What an exploration rests on: reduction loses no outcome, and the world is what the machine does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from exploring import Program, X, Y, explore, explorer_of, machine_of, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.case import Case
from emu.explore.explorer import Explorer, case_of, explore_case
from emu.explore.finding_collector import FindingCollector, end_marks, make_trace
from emu.explore.footprints import Footprints
from emu.explore.global_state import Transition
from emu.explore.local_state import LocalState
from emu.explore.reduction import EnabledSet
from emu.explore.search import Bounds, Search
from emu.host.build import build
from emu.operation import (
    OPERATIONS,
    AtomicUpdate,
    Barrier,
    CacheOp,
    Delay,
    Kind,
    Load,
    LoadUntil,
    Operation,
    Poll,
    SendEvent,
    Store,
    WaitForEvent,
)
from emu.schedulers import SCHEDULERS
from emu.schedulers.replay import picks_text
from emu.trace import Trace

DSB_SY = 0xD503_3F9F
DC_IVAC, DC_CVAC, DC_CIVAC = 0xD508_763F, 0xD50B_7A3F, 0xD50B_7E3F
WORDS = st.sampled_from([X, X + 8, Y])
EIGHT, NO = st.just(8), st.just(False)
COHERENT = st.one_of(
    st.builds(Store, WORDS, st.integers(1, 3), EIGHT, st.just(True), NO),
    st.builds(Load, WORDS, EIGHT, st.just(True), NO),
    st.builds(AtomicUpdate, WORDS, st.integers(0, 2), st.integers(0, 3), EIGHT),
    st.builds(LoadUntil, WORDS, EIGHT, st.none()),
    st.just(SendEvent()),
    st.just(WaitForEvent()),
)
CACHED = st.one_of(
    st.builds(Store, WORDS, st.integers(1, 3), EIGHT, st.booleans(), NO),
    st.builds(Load, WORDS, EIGHT, st.booleans(), NO),
    st.builds(CacheOp, st.sampled_from([DC_IVAC, DC_CVAC, DC_CIVAC]), WORDS),
)
STEPS_MAX = 400
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def programs(operations: st.SearchStrategy[Operation], size: int) -> st.SearchStrategy[list[list[Operation]]]:
    """Two or three short programs."""
    return st.lists(st.lists(operations, min_size=1, max_size=size), min_size=2, max_size=3).filter(
        lambda found: len(found) == 2 or sum(map(len, found)) <= 2 * size
    )


@SLOW
@given(programs(COHERENT, 4))
def test_reduction_and_known_states_lose_no_outcome(found: list[list[Operation]]) -> None:
    explorer = explorer_of([task(*operations) for operations in found])
    _, reduced = explore(explorer, X, X + 8, Y)
    _, orders = explore(explorer, X, X + 8, Y, remember=False)
    _, every = explore(explorer, X, X + 8, Y, reduce=False)
    assert set(reduced.seen) == set(orders.seen) == set(every.seen)


@SLOW
@given(programs(CACHED, 3))
def test_reduction_loses_nothing_that_the_caches_may_do(found: list[list[Operation]]) -> None:
    explorer = explorer_of([task(*operations) for operations in found], cached=True)
    _, reduced = explore(explorer)
    _, every = explore(explorer, reduce=False)
    assert set(reduced.seen) == set(every.seen)


MODEL_RULES = ("stale", "lost-write")
WAITING = st.one_of(
    CACHED,
    st.builds(LoadUntil, WORDS, EIGHT, st.none()),
    st.builds(Poll, WORDS, EIGHT, st.none(), st.just(100), st.just(((0, 10),))),
    st.builds(Barrier, st.just(DSB_SY)),
    st.just(SendEvent()),
    st.just(WaitForEvent()),
)


def found_by(explorer: Explorer, rules: Sequence[str], **bounds: Any) -> set[object]:
    """The findings of these rules, and what the actors of every end have seen."""
    ends = set(explore(explorer, **bounds)[1].seen)
    while True:
        explorer.stepper.grew = False
        system, collector = explorer.system(Bounds(**bounds)), FindingCollector("test", everything=True)
        Search(system, Bounds(**bounds), collector).run()
        if not explorer.stepper.grew and not system.footprints.changed:
            break
    return ends | {same for same, each in collector.found.items() if each.finding.rule in rules}


@SLOW
@given(programs(WAITING, 3))
def test_moves_of_lines_that_are_put_off_lose_no_finding(found: list[list[Operation]]) -> None:
    """Against a search in which lines are actors, which may move at any time."""
    explorer = explorer_of([task(*operations) for operations in found], cached=True)
    lazy = found_by(explorer, (*MODEL_RULES, "stuck"))
    assert lazy == found_by(explorer, (*MODEL_RULES, "stuck"), reduce=False)


@SLOW
@given(programs(COHERENT, 4))
def test_plain_accesses_by_look_up_are_what_their_transition_says(found: list[list[Operation]]) -> None:
    """The fast path of plain loads and stores against the transition of every operation."""
    explorer = explorer_of([task(*operations) for operations in found])
    count, fast = explore(explorer, X, X + 8, Y)
    with pytest.MonkeyPatch.context() as patch:
        prepare = Footprints.prepare

        def without_look_up(self: Footprints, local: LocalState) -> None:
            prepare(self, local)
            local.action.is_simple = False

        patch.setattr(Footprints, "prepare", without_look_up)
        slow_count, slow = explore(explorer, X, X + 8, Y)
    assert (fast.seen, count) == (slow.seen, slow_count)


def test_a_task_that_yields_one_operation_twice_does_it_twice() -> None:
    """The same object, as a constant of a module is; the step was taken for one that had not been made."""
    update = AtomicUpdate(X, None, 1)
    count, ends = explore(explorer_of([task(update, update), "b ."]), X)
    assert (count.depth, len(ends.seen)) == (4, 1)


WAIT_ON_GRANULE = """
again:  {load} x1, [x0]
        cbnz x1, done
        wfe
        b again
done:   str x1, [x0, #256]
        b .
"""


@pytest.mark.parametrize(
    "store",
    ["mov x1, #1\n str x1, [x0]\n b .", task(Store(X, 1)), task(AtomicUpdate(X, None, 1))],
    ids=["PE", "host task", "atomic"],
)
@pytest.mark.parametrize("load", ["ldxr", "ldaxr"])
def test_a_store_that_clears_a_sleepers_monitor_wakes_it(load: str, store: Program) -> None:
    result = explorer_of([WAIT_ON_GRANULE.format(load=load), store]).search(Bounds(), everything=True)
    assert result.complete
    assert result.findings == []


def test_without_a_monitor_the_store_wakes_nobody() -> None:
    """The planted twin: a plain load arms nothing, so the sleeper has lost the wake-up."""
    result = explorer_of([WAIT_ON_GRANULE.format(load="ldr"), task(Store(X, 1))]).search(
        Bounds(), everything=True
    )
    assert [found.finding.rule for found in result.findings] == ["stuck"]


@pytest.mark.parametrize("load", ["ldr", "ldxr", "ldaxr"])
def test_an_exclusive_load_is_no_progress(load: str) -> None:
    """A sleeper that would only look at its word again has lost nothing, however it looks."""
    result = explorer_of([WAIT_ON_GRANULE.format(load=load), "b ."]).search(Bounds(), everything=True)
    assert result.findings == []


PLAIN = st.one_of(
    st.builds(Store, WORDS, st.integers(1, 2), EIGHT, st.just(True), st.booleans()),
    st.builds(Load, WORDS, EIGHT, st.just(True), st.booleans()),
    st.builds(AtomicUpdate, st.just(Y), st.none(), st.just(1), EIGHT),
    st.builds(LoadUntil, st.just(Y), EIGHT, st.none()),
    st.just(SendEvent()),
    st.just(WaitForEvent()),
)


def races(explorer: Explorer, **bounds: Any) -> set[tuple[str, ...]]:
    """The bytes and CPUs of every data race."""
    while True:
        explorer.stepper.grew = False
        system, collector = explorer.system(), FindingCollector("test", everything=True)
        Search(system, Bounds(**bounds), collector).run()
        if not explorer.stepper.grew and not system.footprints.changed:
            break
    found = [each.finding for each in collector.found.values() if each.finding.rule == "race"]
    return {(str(each["pa"]), *map(str, sorted(each.cpus))) for each in found}


@SLOW
@given(programs(PLAIN, 4))
def test_reduction_loses_no_race(found: list[list[Operation]]) -> None:
    """Two that may access the same bytes at once are seen to, also where their order makes no difference."""
    explorer = explorer_of([task(*operations) for operations in found])
    assert races(explorer) == races(explorer, reduce=False)


TIMED = st.one_of(
    st.builds(Store, WORDS, st.integers(1, 3), EIGHT, st.just(True), NO),
    st.builds(Load, WORDS, EIGHT, st.just(True), NO),
    st.builds(Poll, WORDS, EIGHT, st.none(), st.just(100), st.just(((0, 10),))),
    st.just(Delay(100)),
    st.just(SendEvent()),
    st.just(WaitForEvent()),
)


@SLOW
@given(programs(TIMED, 3), st.integers(0, 2))
def test_reduction_keeps_to_what_may_come_without_need(found: list[list[Operation]], early: int) -> None:
    """One early time-out or wake-up takes the place of another: their order matters."""
    explorer = explorer_of([task(*operations) for operations in found])
    _, reduced = explore(explorer, X, X + 8, Y, early=early, spurious=True)
    _, every = explore(explorer, X, X + 8, Y, early=early, spurious=True, reduce=False)
    assert set(reduced.seen) == set(every.seen)


def random_path(explorer: Explorer, choices: Sequence[int]) -> tuple[list[Transition], Trace, int]:
    """Take a schedule that ``choices`` decide, to its end; give it with its trace."""
    for _ in range(5):  # until its lines are known
        explorer.walk(
            SCHEDULERS["random"].walk(""),
            Bounds(schedules=3, early=2, spurious=True, depth=STEPS_MAX),
            everything=True,
        )
    system = explorer.system(Bounds(failures=1))
    state, path, undone, lost = system.first(), [], [], []
    while len(path) < STEPS_MAX:
        moves = EnabledSet(system, state, 1, True)
        if not moves.enabled:
            lost = [mark for mark in end_marks(system, state) if mark[0] in (Kind.LOST, Kind.LINE)]
            break
        actors = [actor for actor in range(moves.actors) if moves.everybody >> actor & 1]
        choice = choices[len(path) % len(choices)]
        actor = actors[choice % len(actors)]
        options = moves.options(actor)
        state, undo, transition = options[choice // len(actors) % len(options)]()
        if moves.is_early(actor, transition.pick):
            state = state._replace(early=state.early + 1)
        path.append(transition)
        undone.append(undo)
    trace = make_trace(system, state, path, "test", lost)
    for undo in reversed(undone):
        system.undo(undo)
    return path, trace, len(system.footprints.units)


def told(trace: Trace) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Everything observable in a trace, in order, and where CPUs end; delays are the machine's alone.

    The machine tells each misuse once, an exploration each time.
    """
    kinds = OPERATIONS - {Kind.DELAY} | {
        Kind.STALE,
        Kind.LOST,
        Kind.LINE,
        Kind.LAND,
        Kind.REGISTER,
        Kind.WAKE,
        Kind.POWER_ON,
        Kind.POWER_OFF,
        Kind.EXCEPTION,
        Kind.MISUSE,
    }
    rows = list(trace.rows())
    found: list[tuple[object, ...]] = []
    misuses = set()
    for kind, size, cpu, pc, pa, value in rows:
        if kind in kinds and (kind != Kind.MISUSE or (cpu, pc) not in misuses):
            what = trace.strings[value] if kind == Kind.MISUSE else value
            found.append((kind, size, cpu, trace.location(pc) or pc, pa, what))
        if kind == Kind.MISUSE:
            misuses.add((cpu, pc))
    ends = [
        (cpu, pc, trace.outcome(end, value, pa))
        for kind, end, cpu, pc, pa, value in rows
        if kind == Kind.OUTCOME
    ]
    return found, sorted(ends)


def same(path: list[Transition], system: Trace, machine: Trace) -> None:
    """Hold the two traces against each other; behind the schedule, who waits looks once more."""
    (wanted, ends), (found, really) = told(system), told(machine)
    assert found[: len(wanted)] == wanted
    if len(path) < STEPS_MAX:
        assert {row[0] for row in found[len(wanted) :]} <= {Kind.LOAD}
        assert really == ends


def same_on_machine(
    programs: Sequence[Program], choices: Sequence[int], *, cached: bool = False, **options: Any
) -> None:
    """Let the machine take the schedule that ``choices`` decide; it must do what was explored."""
    path, trace, _ = random_path(explorer_of(programs, cached=cached, **options), choices)
    schedule = picks_text(transition.pick for transition in path)
    options |= {"granule": 64} if cached else {}
    machine = machine_of(programs, scheduler=f"replay:{schedule}", **options)
    machine.run()
    machine.finish()
    same(path, trace, machine.trace)


CASES = [
    "v3 topology=flat:3",
    "v3 topology=flat:3 memory=caches",
    "v3 topology=flat:3 memory=caches granule=256",
    "v2 topology=flat:3 fault=1:double-start",
    "v3 topology=flat:3 enable-method=spin-table memory=caches",
    "v3 topology=flat:3 enable-method=parking-protocol",
    "v3 topology=flat:3 fault=1:kill-me,2:late:5",
    "v2 topology=flat:3 fault=1:die-early memory=caches",
    "mainline topology=flat:3 bringup=parallel force=1 el=2",
    "rfc topology=flat:2 cycle=1 event-register=1",
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CASES), st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_the_machine_does_what_the_world_has_done(text: str, choices: list[int]) -> None:
    """Loads and their values, stores, events, line states, landings, outcomes: one by one."""
    explorer, boot = explore_case(Case.parse(text))
    path, trace, _ = random_path(explorer, choices)
    live = build(Case.parse(case_of(boot, [transition.pick for transition in path])), record=True).machine
    live.run()
    live.finish()
    same(path, trace, live.trace)


@SLOW
@given(programs(CACHED, 4), st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_caches_of_the_machine_are_those_of_the_world(
    found: list[list[Operation]], choices: list[int]
) -> None:
    same_on_machine([task(*operations) for operations in found], choices, cached=True)


def test_same_exploration_twice_gives_the_same() -> None:
    def once() -> object:
        explorer, boot = explore_case(Case.parse("v2 topology=flat:4 fault=2:no-52bit-va"))
        result = explorer.search(Bounds(), everything=True)
        found = [explorer.shrink(each) for each in result.findings]
        return result.count, result.incomplete, [(each.finding, case_of(boot, each.picks)) for each in found]

    assert once() == once()


def test_walks_are_the_same_for_the_same_seed() -> None:
    def once(scheduler: str) -> object:
        explorer, _ = explore_case(Case.parse("mainline topology=flat:3 bringup=parallel force=1"))
        result = explorer.walk(SCHEDULERS[scheduler].walk("7"), Bounds(schedules=30), everything=True)
        return result.count, [each.finding for each in result.findings]

    assert once("random") == once("random")
    assert once("pct") == once("pct")
