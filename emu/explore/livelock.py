"""Livelocks: parts of the state graph in which everybody who can move moves, for ever.

A cycle counts when it is fair: a CPU that can move in all of its states moves somewhere in it. What caches
do by themselves is no move. Found in the strongly connected components of what a search has seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emu.explore.cells import Undo
from emu.explore.follow import Followed, follow, is_of_cpu, rewind
from emu.explore.local_state import LocalState
from emu.explore.reduction import EnabledSet
from emu.explore.search import Search
from emu.explore.transition_system import TransitionSystem
from emu.operation import Barrier, Invisible, WaitForEvent, WaitForInterrupt
from emu.schedulers import LOOP, Pick

_Edge = tuple[int, int]  # the state that it leads to, the actor
_IDLE = (WaitForEvent, WaitForInterrupt, Barrier, Invisible)  # a loop of these and looks ends or sleeps
Graph = Mapping[int, Sequence[_Edge]]  # by state


@dataclass(frozen=True, slots=True)
class Livelock:
    """The CPUs that go round, the way to where they begin to, and the picks of one fair round.

    There may be no picks in a round of an exploration that has learned something: the next one tells.
    """

    cpus: list[int]
    way: tuple[Pick, ...]
    once_round: tuple[Pick, ...]

    @property
    def picks(self) -> tuple[Pick, ...]:
        """The schedule that shows it."""
        return (*self.way, LOOP, *self.once_round)


def may_go_round(locals: Iterable[LocalState]) -> bool:
    """Tell whether an actor may come back to where it was and do more than look and sleep on the way."""
    graph: dict[int, list[_Edge]] = {}
    acts = set()
    for local in locals:
        graph[local.number] = [(edge.reached.number, 0) for edge in local.edges.values()]
        if not local.action.only_looks and not isinstance(local.action.operation, _IDLE):
            acts.add(local.number)
    return any(not acts.isdisjoint(members) for members in components(graph))


def find_livelock(search: Search) -> Livelock | None:
    """Return a livelock that ``search``, which is over, has gone through, or None."""
    if not search.entries:
        return None
    graph: dict[int, list[_Edge]] = {}
    for edge in search.edges:
        graph.setdefault(edge >> 38, []).append((edge >> 12 & 0x3FF_FFFF, edge & 0xFFF))
    for members in components(graph):
        inside = set(members)
        within = {state: [edge for edge in graph[state] if edge[0] in inside] for state in members}
        ran = {actor for edges in within.values() for _, actor in edges}
        cpus = sorted(actor for actor in ran if actor < search.system.stepper.cpus)
        can = search.system.all_cpus
        for state in members:
            can &= search.enabled[state]
        entry = next((state for state in members if state in search.entries), None)
        if cpus and entry is not None and not can & ~sum(1 << cpu for cpu in cpus):
            way = search.entries[entry]
            picks = _picks(search, way, _fair_round(search, within, entry, cpus))
            if picks and not _comes_back(search.system, way, picks):
                way = (*way, *picks)  # once round, event registers are as each round leaves them
            return Livelock(cpus, way, picks)
    return None


def _fair_round(search: Search, graph: Graph, entry: int, cpus: Sequence[int]) -> list[_Edge]:
    # Edges from `entry` back to it, on which each of `cpus` moves, and each other CPU cannot move somewhere.
    found: list[_Edge] = []
    for cpu in range(search.system.stepper.cpus):

        def is_fair(edge: _Edge, cpu: int = cpu) -> bool:
            state, actor = edge
            return actor == cpu if cpu in cpus else not search.enabled[state] >> cpu & 1

        if not any(map(is_fair, [*found, (entry, -1)])):
            found += _way(graph, found[-1][0] if found else entry, is_fair)
    if found[-1][0] != entry:
        found += _way(graph, found[-1][0], lambda edge: edge[0] == entry)
    return found


def _way(graph: Graph, state: int, is_goal: Callable[[_Edge], bool]) -> list[_Edge]:
    # The shortest way from `state` whose last edge is a goal.
    before: dict[int, tuple[int, _Edge]] = {}
    work = deque([state])
    while True:
        at = work.popleft()
        for edge in graph[at]:
            if is_goal(edge):
                found = [edge]
                while at != state:
                    at, edge = before[at]
                    found.append(edge)
                return found[::-1]
            if edge[0] != state and edge[0] not in before:
                before[edge[0]] = at, edge
                work.append(edge[0])


def _picks(search: Search, way: Sequence[Pick], edges: Sequence[_Edge]) -> tuple[Pick, ...]:
    # What the edges are made of; memory is at the start before and after.
    done = follow(search.system, way)
    states, state = search.known_states(), done.states[-1]
    undone: list[Undo] = []
    picks: list[Pick] = []
    for number, actor in edges:
        taken = search.go_along(state, actor, states[number])
        if taken is None:
            picks = []
            break
        undone += taken[0]
        picks += taken[1]
        state = states[number]
    for undo in reversed(undone):
        search.system.undo(undo)
    rewind(search.system, done)
    return tuple(picks)


def _comes_back(system: TransitionSystem, way: Sequence[Pick], once_round: Sequence[Pick]) -> bool:
    # Whether a round leads to the very state that it began in, that which a search does not look at included.
    done = follow(system, [*way, LOOP, *once_round])
    rewind(system, done)
    return done.states[done.loop_at] == done.states[-1]


def cpus_of_loop(system: TransitionSystem, done: Followed) -> list[int]:
    """Return the CPUs that go round where the schedule has a loop; nothing: it is none, or not a fair one."""
    if done.loop_at < 0 or done.states[done.loop_at] != done.states[-1]:
        return []
    loop = [transition.pick for transition in done.path[done.loop_at :]]
    cpus = sorted({pick.number for pick in loop if is_of_cpu(pick)})
    can = system.all_cpus & ~sum(1 << cpu for cpu in cpus)
    for state in done.states[done.loop_at :]:
        can &= EnabledSet(system, state, 0, False).enabled
    return [] if can else cpus


def components(graph: Graph) -> Iterator[list[int]]:
    """Yield the strongly connected components that have a cycle (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    waiting: list[int] = []
    is_waiting: set[int] = set()
    for root in graph:
        if root in index:
            continue
        work = [(root, 0)]
        while work:
            state, at = work.pop()
            if state not in index:
                index[state] = low[state] = len(index)
                waiting.append(state)
                is_waiting.add(state)
            edges = graph.get(state, ())
            while at < len(edges):
                target = edges[at][0]
                at += 1
                if target not in index:
                    work += [(state, at), (target, 0)]
                    break
                if target in is_waiting:
                    low[state] = min(low[state], low[target])
            else:
                if low[state] == index[state]:
                    members: list[int] = []
                    while not members or members[-1] != state:
                        members.append(waiting.pop())
                        is_waiting.discard(members[-1])
                    if len(members) > 1 or any(target == state for target, _ in edges):
                        yield members
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[state])
