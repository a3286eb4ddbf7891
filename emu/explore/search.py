"""The search: depth first through the global states, with persistent sets, sleep sets and known states.

A state that was seen before ends a path. An actor that slept there has made its move in another state before
which is done with, and so is all that comes behind that. Only a path that comes back to itself meets states
that are not done with; from then on who slept in a known state and does not now is tried (Godefroid, 1996,
chapter 6). Every bound that cuts something off is named in the result.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from emu.errors import ReplayDiverged
from emu.explore.alone import alone
from emu.explore.cells import Undo
from emu.explore.follow import is_of_cpu, step_of
from emu.explore.frames import Frame, SavedFrame, check_fits
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import Judge
from emu.explore.local_state import LocalState
from emu.explore.reduction import EnabledSet
from emu.explore.standing import all_asleep, as_seen
from emu.explore.transition_system import LOOK_EVERY, TransitionSystem
from emu.explore.unit_moves import UnitMoves, Way, at_rest, take
from emu.schedulers import Pick
from emu.semantics.state import members

_ENTRIES_MAX = 1024
_TELL_EVERY = 1 << 12  # operations
KEEP_EVERY = 1_000  # schedules


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an exploration may cost, and what it takes into account.

    :ivar schedules: paths, at most
    :ivar preemptions: changes of CPU while the one that ran could go on, at most; None: any number
    :ivar depth: steps of one path, at most
    :ivar early: time-outs that come although an actor can still run, and spurious wake-ups, at most
    :ivar spurious: whether a WFE may end without an event
    :ivar failures: store-exclusives of a CPU that fail by themselves before one passes, at most; 15 at most
    :ivar states: known states that are kept; more are not, which costs time alone
    :ivar reduce, remember: use partial-order reduction; known states
    :ivar sleep: use sleep sets in it: they leave out orders that lead to known states, cycles among them
    """

    schedules: int = 1_000_000
    preemptions: int | None = None
    depth: int = 100_000
    early: int = 0
    spurious: bool = False
    failures: int = 1
    states: int = 2_000_000
    reduce: bool = True
    sleep: bool = True
    remember: bool = True

    @property
    def finds_waits(self) -> bool:
        """Whether loops may be taken for waits: nobody wakes or gives up without need, orders are reduced."""
        return self.reduce and self.preemptions is None and not self.early and not self.spurious


@dataclass(slots=True)
class Count:
    """What was explored."""

    schedules: int = 0  # paths, however they ended
    complete: int = 0  # of these, to an end: no actor can run
    joined: int = 0  # to a state that was known
    asleep: int = 0  # to where everything left was tried elsewhere
    operations: int = 0
    states: int = 0
    rounds: int = 0
    depth: int = 0


@dataclass(slots=True)
class Search:
    """One round over one transition system."""

    system: TransitionSystem
    bounds: Bounds
    judge: Judge
    tell: Callable[[Count, int], bool] = lambda _count, _depth: False  # True: stop
    count: Count = field(default_factory=Count)
    stopped: str = ""  # why it is not complete
    keep: Callable[[Search], None] = lambda _search: None  # called every KEEP_EVERY schedules
    found: bool = False
    path: list[Transition] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    bounds_hit: set[str] = field(default_factory=set)  # names of fields of Bounds
    stack: tuple[SavedFrame, ...] = ()  # where it ended
    saved: tuple[SavedFrame, ...] = ()  # where to begin, instead of at the beginning
    misfits: bool = False  # not all that was to be tried there can be
    edges: array[int] = field(default_factory=lambda: array("Q"))  # of known states: from, to, actor
    enabled: list[int] = field(default_factory=list)  # by state: the CPUs that can move
    # Ways to states that a path came back to, by state.
    entries: dict[int, tuple[Pick, ...]] = field(default_factory=dict)
    unit_moves: UnitMoves = field(init=False)
    _known: dict[object, int] = field(default_factory=dict)  # state to number
    _slept: list[int] = field(default_factory=list)  # by state: the actors that slept there
    _on_path: dict[object, int] = field(default_factory=dict)
    _turned_back: bool = False  # a path came back to a state of its own
    _counting: int = 0  # the CPUs that count further than a path may be deep
    _gets_on: set[tuple[int, int]] = field(default_factory=set)  # CPU and VA from where it does not count on

    def __post_init__(self) -> None:
        self.unit_moves = UnitMoves(self.system)

    def run(self) -> None:
        """Go through all states, or as far as the bounds and the judge let it."""
        if self.saved:
            self._restore()
        else:
            self._enter(self.system.first(), 0, [], -1, 0, -1, 0)
        kept = self.count.schedules // KEEP_EVERY
        while self.frames and not self.stopped and not self.found:
            frame = self.frames[-1]
            if not frame.todo:
                self._leave()
                continue
            if self.count.schedules // KEEP_EVERY != kept:
                kept = self.count.schedules // KEEP_EVERY
                self.keep(self)
            if self.count.schedules >= self.bounds.schedules:
                self.stopped = f"{self.bounds.schedules} schedules"
                self.bounds_hit.add("schedules")
                break
            actor, way = frame.todo.pop()
            self._take(frame, actor, way)
        self._unwind()

    def _unwind(self) -> None:
        # Memory back to the start.
        self.stack = self.save()
        for frame in reversed(self.frames):
            self._back(frame.undo, 0)

    def save(self) -> tuple[SavedFrame, ...]:
        """Return the stack of the search, for ``saved`` of another."""
        found, at = [], 0
        for frame in self.frames:
            picks = tuple(transition.pick for transition in self.path[at : at + frame.steps])
            todo = tuple(actor for actor, _ in frame.todo)
            found.append(SavedFrame(picks, todo, frame.sleep, frame.done, frame.preemptions))
            at += frame.steps
        return tuple(found)

    def _restore(self) -> None:
        state, last = self.system.first(), -1
        for saved in self.saved:
            undo = []
            for pick in saved.picks:
                step = step_of(self.system, state, pick)
                if step is None:
                    raise ReplayDiverged(f"resume: {pick.kind} {pick.number:#x}: it cannot be taken")
                before = self._moves(state)
                state, changed, transition = step()
                if is_of_cpu(pick) and before.is_early(pick.number, pick):
                    state = state._replace(early=state.early + 1)
                undo.append(changed)
                self.path.append(transition)
                last = pick.number if is_of_cpu(pick) else last
            self.misfits |= not check_fits(saved, moves := self._moves(state))
            todo = [(a, way) for a in saved.todo for way in moves.ways(a)]
            self._on_path[self._key(state, last, saved.preemptions)] = len(self.path)
            steps = len(saved.picks)
            frame = Frame(state, moves, moves.everybody, todo, saved.sleep, undo, steps)
            frame.preemptions, frame.last, frame.done = saved.preemptions, last, saved.done
            self.frames.append(frame)

    def _moves(self, state: GlobalState) -> EnabledSet:
        moves = self.unit_moves if self._puts_off else None
        return EnabledSet(self.system, state, self.bounds.early, self.bounds.spurious, moves, self._reduces)

    def _key(self, state: GlobalState, last: int, preemptions: int) -> object:
        # What makes a state the same: with a bound of preemptions also what has been spent.
        state = as_seen(self.system, state) if self._reduces else state
        return state if self.bounds.preemptions is None else (state, last, preemptions)

    @property
    def _reduces(self) -> bool:
        # An order that stands for another may need more preemptions than that.
        return self.bounds.reduce and self.bounds.preemptions is None

    @property
    def _puts_off(self) -> bool:
        # Whether units move when an access needs it, not at any time.
        return self._reduces and not self.system.footprints.watches_units

    def _take(self, frame: Frame, actor: int, way: Way) -> None:
        sleep = 0
        expired = frame.moves.expired
        if self._reduces and self.bounds.sleep:
            # Whether time passes depends on who can move: such moves commute with nothing.
            asleep = (frame.sleep | frame.done) & ~expired if not expired >> actor & 1 else 0
            asleep &= ~frame.moves.unblocked  # what was tried of it was not that it stays blocked
            number = 0
            while asleep >> number:
                if asleep >> number & 1 and number != actor and frame.moves.commute(actor, number):
                    sleep |= 1 << number
                number += 1
            if not any(other == actor for other, _ in frame.todo):
                frame.done |= 1 << actor
        preemptions = frame.preemptions
        if actor < frame.moves.cpus:
            preemptions += frame.last not in (-1, actor) and frame.moves.enabled >> frame.last & 1
            if self.bounds.preemptions is not None and preemptions > self.bounds.preemptions:
                self.cut.add(f"{self.bounds.preemptions} preemptions")
                self.bounds_hit.add("preemptions")
                return
        state, undo = self._advance(frame.state, frame.moves, actor, way)
        last = actor if actor < frame.moves.cpus else frame.last
        self._enter(state, sleep, undo, last, preemptions, actor, len(way.moves) + (way.step is not None))

    def _advance(
        self, state: GlobalState, moves: EnabledSet, actor: int, way: Way
    ) -> tuple[GlobalState, list[Undo]]:
        state = take(self.system, state, way.moves, self.path)
        if way.step is None:
            return state, []
        state, undo, transition = way.step(state)
        if moves.is_early(actor, transition.pick):
            state = state._replace(early=state.early + 1)
        self.path.append(transition)
        return state, [undo]

    def go_along(
        self, state: GlobalState, actor: int, target: GlobalState
    ) -> tuple[list[Undo], tuple[Pick, ...]] | None:
        """Take an edge of the state graph again, when the search is over.

        :return: what puts memory back, and the picks that lead to ``target``; None: a round that has learned
            something cannot take all of them again
        """
        moves = self._moves(state)
        before = range(-1, moves.cpus) if actor >= moves.cpus else (actor,)
        for way in moves.ways(actor):
            for last in before:
                self.path = []
                reached, changed = self._advance(state, moves, actor, way)
                if self._reduces:
                    reached, *_ = self._go_on(reached, 0, changed, last)
                    reached, _ = all_asleep(self.system, reached, self._moves(reached), changed, self.path)
                if self._key(reached, last, 0) == target:
                    return changed, tuple(transition.pick for transition in self.path)
                for each in reversed(changed):
                    self.system.undo(each)
        return None

    def known_states(self) -> list[GlobalState]:
        """Return the states that are nodes of the graph, by number."""
        plain = self.bounds.preemptions is None
        return [cast("GlobalState", key if plain else cast("Any", key)[0]) for key in self._known]

    def _enter(
        self,
        state: GlobalState,
        sleep: int,
        undo: list[Undo],
        last: int,
        preemptions: int,
        actor: int,
        steps: int,
    ) -> None:
        # A state is reached, `steps` behind the one before: take steps that no other actor can observe, then
        # see what is left to try.
        bounds, count, counts = self.bounds, self.count, 0
        self._counted(steps)
        if self._reduces:
            state, more, blocked, counts = self._go_on(state, sleep, undo, last)
            steps += more
            if blocked:
                count.asleep += 1
                count.schedules += 1
                self._back(undo, steps)
                return
        moves = self._moves(state)
        if moves.standing:
            state, more = all_asleep(self.system, state, moves, undo, self.path)
            moves, steps = self._moves(state), steps + more
            self._counted(more)
        key = self._key(state, last, preemptions)
        number = self._known.get(key, -1)
        since = self._on_path.get(key)
        if since is not None:
            self._link(number, actor)
            self._cycle(number, since)
            self._back(undo, steps)
            return
        ends = not moves.enabled
        if ends and not moves.wakes and not moves.unblocked and not moves.blocked_on_units():
            chosen = 0
        elif self._reduces:
            chosen = moves.persistent(last, 0 if self._turned_back else sleep)
        else:
            chosen = moves.everybody
        if len(self.path) // LOOK_EVERY != (len(self.path) - steps) // LOOK_EVERY:
            counts |= self._counts_on(state, last)
        if counts:
            for cpu in range(moves.cpus):
                if moves.enabled >> cpu & 1 and not counts >> cpu & 1:
                    counts |= self._counts_on(state, cpu)
            chosen = moves.everybody & ~counts  # others go on from here
        tried = chosen
        if bounds.remember:
            if number < 0:
                number = self._keep(key, sleep, moves)
                self._link(number, actor)
                count.states += 1
                self.found = self.judge.state(self.system, state, moves, self.path)
            else:
                self._link(number, actor)
                known = self._slept[number]
                if not (known & ~sleep and self._turned_back):
                    count.joined += 1
                    count.schedules += 1
                    self._back(undo, steps)
                    return
                tried = chosen & known
                self._slept[number] = known & sleep
        else:
            count.states += 1
            self.found = self.judge.state(self.system, state, moves, self.path)
        if ends:
            count.complete += 1
            count.schedules += 1
            count.depth = max(count.depth, len(self.path))
            self.found = self.judge.end(self.system, state, self.path) or self.found
        todo = [
            (actor, way)
            for actor in range(moves.actors - 1, -1, -1)
            if tried >> actor & 1 and not sleep >> actor & 1
            for way in moves.ways(actor)
        ]
        if last >= 0:  # who ran goes on first
            todo.sort(key=lambda each: each[0] == last)
        if not todo and not ends and self._reduces:
            todo = [(cpu, way) for cpu in moves.unexplored(sleep | counts) for way in moves.ways(cpu)][:1]
        if len(self.path) > bounds.depth:
            self.cut.add(f"{bounds.depth} steps")
            self.bounds_hit.add("depth")
            todo = []
        if not todo and not ends:
            count.asleep += 1
            count.schedules += 1
        self._on_path[key] = len(self.path)
        self.frames.append(
            Frame(state, moves, chosen, todo, sleep, undo, steps, preemptions, last, number=number)
        )

    def _counts_on(self, state: GlobalState, cpu: int) -> int:
        # The bit of a CPU that counts further than a path may be deep when it goes on.
        if cpu < 0 or (cpu, state.locals[cpu].at) in self._gets_on:
            return 0
        if not self.system.counts_on(state, cpu, self.bounds.depth):
            self._gets_on.add((cpu, state.locals[cpu].at))
            return 0
        self.cut.discard(self._loops)
        self._counting |= 1 << cpu
        self.cut.add(self._loops)
        self.bounds_hit.add("depth")
        return 1 << cpu

    @property
    def _loops(self) -> str:
        found = [f"CPU{cpu}" for cpu in members(self._counting)]
        loops = (
            f"a loop of {found[0]} that counts"
            if len(found) == 1
            else f"loops of {', '.join(found)} that count"
        )
        return f"{self.bounds.depth} steps, in {loops}" if found else ""

    def _at_rest(self, frame: Frame) -> bool:
        # Judge what units may make of a state in which no CPU moves, when all that comes behind it is done:
        # what a CPU has seen is a better story than what it has missed.
        if not self._puts_off or (frame.moves.enabled and frame.moves.enabled != frame.moves.expired):
            return False
        for moves in at_rest(self.system, self.unit_moves, frame.state):
            moved = take(self.system, frame.state, moves, self.path)
            if frame.moves.enabled:
                found = self.judge.state(self.system, moved, self._moves(moved), self.path)
            else:
                found = self.judge.end(self.system, moved, self.path)
            del self.path[-len(moves) :]
            if found:
                return True
        return False

    def _go_on(
        self, state: GlobalState, sleep: int, undo: list[Undo], last: int
    ) -> tuple[GlobalState, int, bool, int]:
        # A step whose footprint meets no future of another actor needs no state of its own. Also: whether the
        # actor of the next one sleeps, and the bit of one that counts further than a path may be deep.
        system, steps, path = self.system, 0, self.path
        seen: set[LocalState] = set()
        counts = 0
        while len(path) <= self.bounds.depth:
            cpu = alone(system, state, last)
            if cpu < 0:
                break
            local = state.locals[cpu]
            if local in seen:
                break  # it may go round: states tell
            seen.add(local)
            if sleep >> cpu & 1:
                if self._moves(state).unexplored(sleep):
                    break
                return state, steps, True, 0
            state, changed, transition = system.step(state, cpu)
            undo.append(changed)
            path.append(transition)
            steps += 1
            last = cpu
            if not len(path) % LOOK_EVERY and (counts := self._counts_on(state, cpu)):
                break
        self._counted(steps)
        return state, steps, False, counts

    def _counted(self, steps: int) -> None:
        before = self.count.operations
        self.count.operations += steps
        if before // _TELL_EVERY != self.count.operations // _TELL_EVERY and self.tell(
            self.count, len(self.frames)
        ):
            self.stopped = "interrupted"

    def _keep(self, key: object, sleep: int, moves: EnabledSet) -> int:
        # Number a state that is new; -1 when there is no room for more.
        if len(self._slept) >= self.bounds.states:
            return -1
        self._known[key] = len(self._slept)
        self._slept.append(sleep)
        self.enabled.append(moves.enabled & self.system.all_cpus)
        return len(self._slept) - 1

    def _link(self, number: int, actor: int) -> None:
        # An edge from the state that the path stood in before; of one that turns, no move.
        frame = self.frames[-1] if self.frames else None
        if frame and number >= 0 and frame.number >= 0 and not frame.moves.turning >> actor & 1:
            self.edges.append(frame.number << 38 | number << 12 | actor)

    def _cycle(self, number: int, since: int) -> None:
        # Back in a state of this path. What was left out there must not be left out for ever.
        self._turned_back = True
        self.count.joined += 1
        self.count.schedules += 1
        if number >= 0 and len(self.entries) < _ENTRIES_MAX:
            self.entries.setdefault(number, tuple(transition.pick for transition in self.path[:since]))
        at = 0
        for frame in self.frames:
            at += frame.steps
            if at == since:
                missing = frame.moves.everybody & ~frame.chosen
                frame.chosen |= missing
                frame.todo[:0] = [
                    (actor, way)
                    for actor in range(frame.moves.actors)
                    if missing >> actor & 1 and not frame.sleep >> actor & 1
                    for way in frame.moves.ways(actor)
                ]

    def _back(self, undo: list[Undo], steps: int) -> None:
        for changed in reversed(undo):
            self.system.undo(changed)
        if steps:
            del self.path[-steps:]

    def _leave(self) -> None:
        frame = self.frames.pop()
        self.found = self._at_rest(frame)
        self._on_path.pop(self._key(frame.state, frame.last, frame.preemptions), None)
        self._back(frame.undo, frame.steps)
