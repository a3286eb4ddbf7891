"""What a global state must remember of its past for rules: what the memory model has noted, and updates.

For ``stale`` and ``lost-write``: :func:`noted_after`. For ``lost-update``: loads that others stored over.
A state would do without: what comes next does not depend on it. But a search joins states that are equal, and
whether a store loses what another CPU has stored is told by the order of the accesses before. So a state says
for each load whose value its CPU may still store to the same bytes whether another CPU has stored there
since, and whether an update was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emu.arch.dataflow import DataFlow
from emu.explore.global_state import GlobalState
from emu.explore.local_state import NO_UPDATES, LocalState, Updates
from emu.models.protocol import Note
from emu.operation import Access, AtomicUpdate, Kind, Load, LoadUntil, MemoryAccess, Poll, Store

Word = tuple[int, int]  # PA, bytes
_PLAIN = (Load, LoadUntil, Poll, Store, MemoryAccess)
_LOST = 2  # fields of what is remembered of a store that was lost
_HOST = 1  # what stands for the value of a host task's load; any set of registers does for that of a PE


def noted_after(
    noted: frozenset[tuple[int, ...]], cpu: int, loads: Iterable[Access], notes: Iterable[Note]
) -> frozenset[tuple[int, ...]]:
    """Return what is remembered behind a step of ``cpu`` that has loaded ``loads`` and noted ``notes``."""
    looked = {(access.pa, access.size) for access in loads}
    kept = {each for each in noted if len(each) == _LOST or each[0] != cpu or each[1:3] not in looked}
    for note in notes:
        if note.kind is Kind.LOST:
            kept.add((note.pa, note.value))
        elif note.kind is Kind.STALE:
            kept.add((cpu, note.pa, note.size))
    return frozenset(kept)


class UpdateHistory:
    """The updates that the actors of ``locals`` can make, as far as they are known.

    :ivar words: PA and bytes of each word that a CPU updates and another stores to
    :ivar of_cpu: by CPU, the bits that are about it
    :ivar of: by local state, what it has to do with updates; those without are left out
    """

    def __init__(self, locals: Iterable[LocalState], flow: DataFlow) -> None:
        self._flow = flow
        self.words: set[Word] = set()
        self.of_cpu: dict[int, int] = {}
        self.of: dict[LocalState, Updates] = {}
        self.count = 0
        self._about: dict[Word, int] = {}  # the bits about each word
        loads: dict[tuple[int, Word], list[LocalState]] = {}
        stores: dict[Word, list[LocalState]] = {}
        for local in locals:
            plain = isinstance(local.action.operation, _PLAIN)
            for access in local.action.accesses:
                word = (access.pa, access.size)
                if access.is_store:
                    stores.setdefault(word, []).append(local)
                if plain and not access.is_store or isinstance(local.action.operation, AtomicUpdate):
                    loads.setdefault((local.cpu, word), []).append(local)
        for (cpu, word), where in loads.items():
            others = [local for local in stores.get(word, ()) if local.cpu != cpu]
            own = any(local.cpu == cpu for local in stores.get(word, ()))
            if own and others:
                self._add(cpu, word, where, others)

    def stored(
        self, state: GlobalState, local: LocalState, only: Iterable[Access] | None = None
    ) -> GlobalState:
        """Return the state after the stores of a local state's action: what they make outdated, and lose.

        :param only: the stores that are made; None: all
        """
        updates, history = local.updates, state.history
        if only is not None:
            about = 0
            for access in only:
                about |= self._about.get((access.pa, access.size), 0)
            updates = Updates(*(bits & about for bits in updates))
        if lost := updates.loses & history:
            history |= lost << self.count
        if updates.outdates:
            for other in state.locals:
                history |= other.updates.open & updates.outdates
        return state if history == state.history else state._replace(history=history)

    def moved(self, state: GlobalState, cpu: int, local: LocalState) -> GlobalState:
        """Forget what ``cpu``, which comes to ``local``, can no longer store of what it has loaded."""
        closed = self.of_cpu.get(cpu, 0) & ~local.updates.open
        return state._replace(history=state.history & ~closed) if state.history & closed else state

    def _add(self, cpu: int, word: Word, loads: list[LocalState], others: list[LocalState]) -> None:
        held, losing = self._follow(word, loads)
        if not losing:
            return
        bit = 1 << self.count
        self.count += 1
        self.words.add(word)
        self._about[word] = self._about.get(word, 0) | bit
        self.of_cpu[cpu] = self.of_cpu.get(cpu, 0) | bit
        for local in _those_that_reach(held, losing):
            self._put(local, Updates(open=bit))
        for local in losing:
            self._put(local, Updates(loses=bit))
        for local in others:
            self._put(local, Updates(outdates=bit))

    def _put(self, local: LocalState, more: Updates) -> None:
        old = self.of.get(local, NO_UPDATES)
        self.of[local] = Updates(*(one | other for one, other in zip(old, more, strict=True)))

    def _follow(self, word: Word, loads: list[LocalState]) -> tuple[dict[LocalState, int], set[LocalState]]:
        # The local states in which registers may hold what was loaded, and the stores of what is made of it.
        held: dict[LocalState, int] = {}
        losing: set[LocalState] = set()
        work = [(load, local, self._loaded(load)) for load in loads for local in _behind_load(load)]
        near = {load.action.where for load in loads}
        while work:
            before, local, registers = work.pop()
            registers = self._across(before, local, registers)
            if not registers or not registers & ~held.get(local, 0):
                continue
            held[local] = registers = registers | held.get(local, 0)
            if access := _access_to(local, word):
                updates = isinstance(local.action.operation, AtomicUpdate)
                if access.is_store and not updates and self._stores(local, registers, near):
                    losing.add(local)
                continue
            after = self._after(local, registers)
            work += [(local, edge.local, after) for edge in local.edges.values()]
        return held, losing

    def _loaded(self, load: LocalState) -> int:
        pc = load.action.where
        return self._flow.loaded(pc) if isinstance(pc, int) else _HOST

    def _after(self, local: LocalState, held: int) -> int:
        pc = local.action.where
        return self._flow.after(pc, held) if isinstance(pc, int) and pc else held

    def _across(self, before: LocalState, local: LocalState, held: int) -> int:
        here, there = before.action.where, local.action.where
        if isinstance(here, int) and isinstance(there, int) and here and there:
            return self._flow.across(here, there, held)
        return held

    def _stores(self, local: LocalState, held: int, near: set[int | str]) -> bool:
        pc = local.action.where
        if isinstance(pc, int):
            return bool(held & self._flow.stored(pc))
        return any(isinstance(other, str) for other in near)


def _behind_load(load: LocalState) -> Iterator[LocalState]:
    # Where a load leads; an update that finds another value than it expects is one too.
    operation = load.action.operation
    for observed, edge in load.edges.items():
        if not isinstance(operation, AtomicUpdate) or operation.expected not in (None, observed):
            yield edge.local


def _access_to(local: LocalState, word: Word) -> Access | None:
    for access in local.action.accesses:
        if (access.pa, access.size) == word:
            return access
    return None


def _those_that_reach(held: dict[LocalState, int], losing: set[LocalState]) -> set[LocalState]:
    before: dict[LocalState, list[LocalState]] = {}
    for local in held:
        for edge in local.edges.values():
            before.setdefault(edge.local, []).append(local)
    found, work = set(losing), list(losing)
    while work:
        for local in before.get(work.pop(), ()):
            if local not in found:
                found.add(local)
                work.append(local)
    return found
