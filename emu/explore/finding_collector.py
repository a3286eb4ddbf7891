"""What an exploration finds: rules on the traces of its ends, and what only its states show."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from emu.errors import Untestable
from emu.explore.follow import Followed
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import Judge
from emu.explore.local_state import Action, LocalState
from emu.explore.reduction import EnabledSet
from emu.explore.search import Count
from emu.explore.transition_system import TransitionSystem
from emu.finding import Finding
from emu.machine.actor import State
from emu.models.protocol import Note
from emu.operation import LOADS, Kind
from emu.rules import SEES, identity, judge, rules_of_marks
from emu.schedulers import Pick
from emu.semantics.log import EVERY_CPU, DeferredLog, defer, flush
from emu.semantics.state import members
from emu.trace import Trace

# kind, CPU, size, PC, PA, value of a record that the machine does not make
Mark = tuple[Kind, int, int, int | str, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, the picks that lead to it, and what its trace ends with."""

    finding: Finding
    picks: tuple[Pick, ...]
    marks: tuple[Mark, ...] = ()
    tail: tuple[Transition, ...] = ()  # what those who go round for ever look at, behind the picks
    after: int = 0  # schedules before it was found
    case: str = ""  # the text of the case that takes the picks


# An exploration ends with the boot.
_ELSEWHERE = frozenset(name for name, sees in SEES.items() if sees in ("hotplug", "kexec"))
_OF_MARKS = frozenset(rules_of_marks().values())
_OF_MODEL = frozenset(name for name, sees in SEES.items() if sees == "model")


@dataclass(slots=True)
class FindingCollector(Judge):
    """Keeps each finding once.

    :ivar case: the text of the case, without a schedule
    :ivar everything: go on after the first
    :ivar same: equal for findings that are one: of all orders their identity, of a single one their key
    """

    case: str
    everything: bool = False
    same: Callable[[Finding], Hashable] = identity
    found: dict[Hashable, Found] = field(default_factory=dict)
    count: Count = field(default_factory=Count)  # the search's

    def state(
        self, system: TransitionSystem, state: GlobalState, moves: EnabledSet, path: list[Transition]
    ) -> bool:
        """Look for two that race, and for who sleeps while all others wait for time to pass."""
        watch = system.stepper.watch
        broken = [] if watch is None else watch.broken(system, state)
        if broken and self._look(system, state, path, broken, alone=True):
            return True
        if moves.expired and moves.expired == moves.enabled:
            marks = [mark for mark in end_marks(system, state) if mark[0] is Kind.LOST_WAKEUP]
            if marks and self._look(system, state, path, marks, alone=True):
                return True
        for cpu in members(moves.plain & moves.enabled):
            if not system.can_step(state, cpu):
                continue
            for other, local in enumerate(state.locals):
                if other == cpu or not system.can_step(state, other):
                    continue
                if (meeting := _meeting(state.locals[cpu].action, local.action)) is None:
                    continue
                marks = [_race(system, state, who, *meeting) for who in (cpu, other)]
                if self._look(system, state, path, marks, alone=True):
                    return True
        return False

    def end(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> bool:
        """Let every rule look at the run that ends here."""
        rounds = [system.look_round(state, cpu) for cpu in range(len(state.locals))]
        for each in rounds:
            _check_time(each)
        tail = [transition for each in rounds for transition in each]
        marks = end_marks(system, state)
        if (watch := system.stepper.watch) is not None:
            marks += watch.broken_at_end(system, state)
        return self._look(system, state, path, marks, tail=tail)

    def cycle(self, system: TransitionSystem, done: Followed, cpus: list[int]) -> bool:
        """A livelock: these CPUs have gone round in the loop of the schedule."""
        state = done.states[-1]
        _check_time(done.path[done.loop_at :])
        marks = [_mark(Kind.LIVELOCK, state.locals[cpu], 0) for cpu in cpus]
        if (watch := system.stepper.watch) is not None:
            marks += watch.never_seen(state)
        return self._look(system, state, done.path, marks, alone=True, picks=done.picks())

    def _look(
        self,
        system: TransitionSystem,
        state: GlobalState,
        path: list[Transition],
        marks: list[Mark],
        alone: bool = False,
        tail: Sequence[Transition] = (),
        picks: tuple[Pick, ...] | None = None,
    ) -> bool:
        # Left out: what has nothing to look at, or, with `alone`, every rule that reads none of the marks.
        system.lender.settle()
        without = SEES.keys() - {rules_of_marks()[mark[0]] for mark in marks} if alone else _ELSEWHERE
        if not marks:
            without |= _OF_MARKS
        if not system.footprints.units:
            without |= _OF_MODEL
        verdict = judge(make_trace(system, state, [*path, *tail], self.case, marks), without)
        new = False
        for finding in verdict.findings:
            same = self.same(finding)
            if same not in self.found:
                picks = picks or tuple(transition.pick for transition in path)
                self.found[same] = Found(finding, picks, tuple(marks), tuple(tail), self.count.schedules)
                new = True
        return new and not self.everything


def _check_time(loop: Sequence[Transition]) -> None:
    # A CPU that goes round and reads the counter may come out of it: its time does not pass here.
    for cpu, edge in (each for transition in loop for each in transition.edges):
        if edge.reads_time:
            raise Untestable(
                f"CPU{cpu} goes round and reads the counter at PC {edge.local.at:#x}; no time passes while "
                "orders are tried"
            )


def end_marks(system: TransitionSystem, state: GlobalState) -> list[Mark]:
    """Return what is to be said at an end: what is lost, who sleeps although it would go on, who spins."""
    marks: list[Mark] = [
        (note.kind, 0, note.size, 0, note.pa, note.value) for note in system.model.at_end(state.model)
    ]
    for cpu, local in enumerate(state.locals):
        if local.state is State.WAITING:
            word = system.would_go_on(state, cpu)
            if word is not None:
                marks.append(_mark(Kind.LOST_WAKEUP, local, word))
        elif local.state is State.RUNNABLE and not local.action.waits:
            accesses = local.action.accesses
            marks.append(_mark(Kind.LIVELOCK, local, accesses[0].pa if accesses else 0))
    return marks


def _mark(kind: Kind, local: LocalState, pa: int) -> Mark:
    return (kind, local.cpu, 0, local.at, pa, 0)


def _race(system: TransitionSystem, state: GlobalState, cpu: int, pa: int, size: int) -> Mark:
    action = state.locals[cpu].action
    stored = [access.value for access in action.accesses if access.is_store and access.pa <= pa]
    seen = system.observed(state, cpu) if not stored else stored[-1]
    value = seen if isinstance(seen, int) else 0
    return (Kind.RACE, cpu, size | (0x80 if stored else 0), action.where, pa, value)


def _meeting(one: Action, other: Action) -> tuple[int, int] | None:
    # (PA, bytes) of what both access and one stores to.
    for mine in one.accesses:
        for theirs in other.accesses:
            first = max(mine.pa, theirs.pa)
            last = min(mine.pa + mine.size, theirs.pa + theirs.size)
            if first < last and (mine.is_store or theirs.is_store):
                return first, last - first
    return None


def make_trace(
    system: TransitionSystem, state: GlobalState, path: list[Transition], case: str, marks: list[Mark]
) -> Trace:
    """Return the trace of the run that took ``path``, as the machine would have made it, and the marks.

    Simulated times in it are not those of a run.
    """
    machine = system.stepper.machine
    trace = machine.trace.sibling(case)
    trace.put(system.stepper.prefix)
    deferred = DeferredLog()
    for transition in path:
        stale = {}  # notes of its loads by PA: each comes right before its load
        for note in transition.notes:
            if note.kind is Kind.STALE:
                stale[note.pa] = note
            elif note.kind is Kind.POWER_ON:
                trace.add(Kind.POWER_ON, note.size, 0, note.pa, 0, note.value)
            else:
                cpu = transition.pick.number if transition.edges else 0
                trace.add(note.kind, cpu, note.size, 0, note.pa, note.value)
        for _, edge in transition.edges:
            if stale:
                _put_stale(trace, edge.records, stale)
                stale = {}
            else:
                trace.put(edge.records)
            if edge.defers:
                deferred = _tell_deferred(trace, edge.records, deferred)
    for local in state.locals:
        if local.state is not State.ENDED:
            trace.add_outcome(local.cpu, local.at, local.outcome)
    for kind, cpu, size, where, pa, value in marks:
        trace.add(kind, cpu, size, trace.host_pc(where) if isinstance(where, str) else where, pa, value)
    return trace


def _put_stale(trace: Trace, records: bytes, stale: Mapping[int, Note]) -> None:
    for kind, size, cpu, pc, pa, value in trace.rows_of(records):
        if kind in LOADS and pa in stale:
            trace.add(Kind.STALE, cpu, stale[pa].size, 0, pa, stale[pa].value)
        trace.add(Kind(kind), cpu, size, pc, pa, value)


def _tell_deferred(trace: Trace, records: bytes, deferred: DeferredLog) -> DeferredLog:
    # Deferred lines come out when another CPU's step flushes them, which knows none of them.
    for kind, _size, cpu, _pc, pa, value in trace.rows_of(records):
        if kind == Kind.DEFERRED:
            deferred = defer(deferred, pa, value)
        elif kind == Kind.FLUSHED:
            deferred, lines = flush(deferred, EVERY_CPU if pa == 0xFFFF else pa)
            for line in lines:
                trace.add(Kind.LOG, cpu, 0, 0, 0, line)
    return deferred
