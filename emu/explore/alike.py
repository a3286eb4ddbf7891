"""Local states that are one for a search: those that differ in loaded values alone that nothing uses again.

Two observations of one operation often lead to local states that cannot be told apart from then on: the value
is discarded, as that of an exchange by which Linux only stores, or is in a register that is written before it
is read. What such actors do next is the same whatever they observe, as far as is known; then one local state
stands for both. It is a bisimulation, checked by merging (Hopcroft and Karp, "A linear algorithm for testing
equivalence of finite automata", 1971).

Only local states whose traces so far differ in nothing but values of loads are made one: rules judge whole
traces. ``lost-update`` compares what a host task has loaded of a word with what it stores there, so the loads
of words that can be updated are told apart. An edge keeps the local state that it really leads to: a round
that has learned more may find that two are not alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from emu.explore.history import UpdateHistory
from emu.explore.local_state import NO_UPDATES, Edge, LocalState
from emu.operation import LOADS, Kind
from emu.records import Row

RowsOf = Callable[[bytes], Iterator[Row]]


def forget(locals: Iterable[LocalState]) -> None:
    """Let all edges lead to where they really do."""
    for local in locals:
        for observed, edge in local.edges.items():
            if edge.local is not edge.reached:
                local.edges[observed] = edge._replace(local=edge.reached)


def unite(locals: Sequence[LocalState], history: UpdateHistory, rows_of: RowsOf) -> None:
    """Let edges that lead to local states that are alike lead to one of them.

    :param rows_of: reads records
    """
    alike = _Alike(history, rows_of)
    for local in locals:
        alike.look_at(local)
    for local in locals:
        for observed, edge in local.edges.items():
            same = alike.find(edge.reached)
            if same is not edge.local:
                same.is_target = True
                local.edges[observed] = edge._replace(local=same)


class _Alike:
    # A union-find over local states.

    def __init__(self, history: UpdateHistory, rows_of: RowsOf) -> None:
        self._history = history
        self._rows_of = rows_of
        self._parents: dict[LocalState, LocalState] = {}
        self._said: dict[bytes, tuple[Row, ...]] = {}

    def find(self, local: LocalState) -> LocalState:
        while (parent := self._parents.get(local)) is not None:
            local = parent
        return local

    def look_at(self, local: LocalState) -> None:
        # Unite where the edges of one local state lead, as far as that can be.
        if len(local.edges) < 2:
            return
        found: dict[tuple[object, ...], list[LocalState]] = {}
        for edge in local.edges.values():
            if edge.reads_time:
                continue
            others = found.setdefault((edge.defers, self._without_loads(edge.records)), [])
            if not any(self._unite(other, edge.reached) for other in others):
                others.append(edge.reached)

    def _without_loads(self, records: bytes) -> tuple[Row, ...]:
        said = self._said.get(records)
        if said is None:
            rows = self._rows_of(records)
            said = tuple((*row[:5], 0) if self._is_no_matter(row) else row for row in rows)
            self._said[records] = said
        return said

    def _is_no_matter(self, row: Row) -> bool:
        # Whether no rule looks at the value of a row.
        kind, size, _, _, pa, _ = row
        return kind == Kind.ATOMIC or kind in LOADS and (pa, size) not in self._history.words

    def _unite(self, one: LocalState, other: LocalState) -> bool:
        united: list[LocalState] = []
        work = [(one, other)]
        while work:
            one, other = sorted(map(self.find, work.pop()), key=lambda local: local.number)
            if one is other:
                continue
            if not self._does_the_same(one, other):
                for each in united:
                    del self._parents[each]
                return False
            self._parents[other] = one
            united.append(other)
            work += [(edge.reached, other.edges[observed].reached) for observed, edge in one.edges.items()]
        return True

    def _does_the_same(self, one: LocalState, other: LocalState) -> bool:
        return (
            one.cpu == other.cpu
            and self._what(one) == self._what(other)
            and one.edges.keys() == other.edges.keys()
            and all(_same(edge, other.edges[observed]) for observed, edge in one.edges.items())
        )

    def _what(self, local: LocalState) -> tuple[object, ...]:
        action = local.action
        return (
            local.state,
            local.armed,
            local.landings,
            local.said,
            local.outcome,
            local.at,
            local.made,
            action.where,
            action.operation,
            self._history.of.get(local, NO_UPDATES),
        )


def _same(one: Edge, other: Edge) -> bool:
    return (one.records, one.defers, one.reads_time) == (other.records, other.defers, other.reads_time)
