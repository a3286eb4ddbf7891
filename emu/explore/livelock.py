"""Livelocks: parts of the state graph in which everybody who can move moves, for ever.

A cycle counts when it is fair: a CPU that can move in all of its states moves somewhere in it. What caches
do by themselves is no move. Found in the strongly connected components of what a search has seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from emu.explore.search import Search
from emu.schedulers import Pick

# By state: (state, actor) that it leads to.
Graph = Mapping[int, Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Livelock:
    """The CPUs that may go round, and the way to where they begin to."""

    cpus: list[int]
    way: tuple[Pick, ...]


def find_livelock(search: Search) -> Livelock | None:
    """Return a livelock that ``search`` has gone through, or None."""
    if not search.entries:
        return None
    graph: dict[int, list[tuple[int, int]]] = {}
    for edge in search.edges:
        graph.setdefault(edge >> 38, []).append((edge >> 12 & 0x3FF_FFFF, edge & 0xFFF))
    for members in components(graph):
        inside = set(members)
        ran = {actor for state in members for target, actor in graph[state] if target in inside}
        cpus = sorted(actor for actor in ran if actor < search.system.stepper.cpus)
        can = search.system.all_cpus
        for state in members:
            can &= search.enabled[state]
        entry = next((state for state in members if state in search.entries), None)
        if cpus and entry is not None and not can & ~sum(1 << cpu for cpu in cpus):
            return Livelock(cpus, search.entries[entry])
    return None


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
