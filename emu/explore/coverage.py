"""What a result of an exploration is about: the memory model, the bounds, and what was executed unmodelled.

An exploration proves something of a model. What the actors did that the model says nothing of is counted by
the places in the code, so that "complete" is read for what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from emu.arch import a64
from emu.explore.local_state import LocalState
from emu.explore.thread_stepper import ThreadStepper
from emu.operation import STORES, Barrier, Kind, Ordering

# What is executed and not modelled, in the order of reports.
SET_WAY = "cache maintenance by set and way"
INSTRUCTION_CACHES = "instruction caches"
TLBS = "TLBs"
PUBLICATION = "stores that another CPU may see the other way round on hardware: no barrier, no release"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was covered.

    :ivar model: the memory model, as ``--memory`` has it
    :ivar cpus: how many
    :ivar failures: store-exclusives of a CPU that fail by themselves in a row, at most
    :ivar early: time-outs and wake-ups without need, at most
    :ivar unmodelled: what was executed and is not modelled, with the number of places
    """

    model: str
    cpus: int
    failures: int
    early: int
    unmodelled: tuple[tuple[str, int], ...]


def coverage_of(stepper: ThreadStepper, *, failures: int, early: int) -> Coverage:
    """Return what an exploration has covered, from all that its actors have been seen to do."""
    places: dict[str, set[int | str]] = {
        SET_WAY: set(),
        INSTRUCTION_CACHES: set(),
        TLBS: set(),
        PUBLICATION: set(),
    }
    shared = _shared(stepper.locals)
    executed = stepper.machine.engine.code.executed
    for local in stepper.locals:
        for edge in local.edges.values():
            for kind, size, _cpu, pc, pa, value in stepper.machine.trace.rows_of(edge.records):
                if kind == Kind.TLB:
                    places[TLBS].add(pc)
                elif kind == Kind.CACHE and a64.is_by_set_way(value):
                    places[SET_WAY].add(pc)
                elif _is_about_code(kind, pa, size, value, executed):
                    places[INSTRUCTION_CACHES].add(pc)
    places[PUBLICATION].update(_publications(stepper.locals, shared))
    counted = tuple((what, len(found)) for what, found in places.items() if found)
    return Coverage(stepper.model.name, stepper.cpus, failures, early, counted)


def _is_about_code(kind: int, pa: int, size: int, value: int, executed: set[int]) -> bool:
    # Whether it is maintenance of instruction caches, or a store to what is executed (words: PA >> 2).
    if kind == Kind.CACHE:
        return a64.is_instruction_cache(value)
    return kind in STORES and not executed.isdisjoint(range(pa >> 2, pa + size + 3 >> 2))


def _cells(pa: int, size: int) -> range:
    return range(pa >> 3, (pa + size - 1 >> 3) + 1)


def _shared(locals: Iterable[LocalState]) -> set[int]:
    # The u64 that several actors access and one stores to, by PA / 8.
    by: dict[int, set[int]] = {}
    stored: set[int] = set()
    for local in locals:
        for access in local.action.accesses:
            for cell in _cells(access.pa, access.size):
                by.setdefault(cell, set()).add(local.cpu)
                if access.is_store:
                    stored.add(cell)
    return {cell for cell in stored if len(by[cell]) > 1}


def _publications(locals: Sequence[LocalState], shared: set[int]) -> Iterator[int | str]:
    # Places where a PE stores to one shared word behind another that a CPU loads too, and only program order
    # keeps the two stores apart.
    loaded: dict[int, set[int]] = {}  # by CPU
    for local in locals:
        for access in local.action.loads:
            loaded.setdefault(local.cpu, set()).update(_cells(access.pa, access.size))
    pending: dict[LocalState, tuple[frozenset[int], frozenset[int]]] = {}
    nothing = frozenset[int]()
    # Beside what was stored before: what the same instruction has stored, in either order.
    work = [(local, nothing, nothing) for local in locals if local.history is None]
    while work:
        local, before, own = work.pop()
        known = pending.get(local)
        if known is not None and before <= known[0] and own <= known[1]:
            continue
        if known is not None:
            before, own = before | known[0], own | known[1]
        pending[local] = before, own
        operation = local.action.operation
        if isinstance(operation, Barrier) and a64.ordered_by(operation.word) & a64.STORES:
            before = nothing
        stores = [access for access in local.action.accesses if access.is_store]
        cells = {cell for access in stores for cell in _cells(access.pa, access.size)} & shared
        plain = any(access.ordering is not Ordering.RELEASE for access in stores)
        if plain and any(
            cells & seen and (before - cells) & seen for cpu, seen in loaded.items() if cpu != local.cpu
        ):
            yield local.action.where
        own |= cells
        for edge in local.edges.values():
            if edge.local.history is None:
                whole = not edge.local.made
                work.append((edge.local, before | own if whole else before, nothing if whole else own))
