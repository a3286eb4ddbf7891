"""Lost updates: a CPU stores what it made of a value, and another has stored in between."""

from __future__ import annotations

from array import array
from itertools import compress

from emu.columns import Columns, among, both, of_several, with_bytes
from emu.finding import PA, Finding, Source, Word, each_once
from emu.operation import OPERATIONS, STORES, Kind
from emu.trace import Trace

NAME = "lost-update"
SEES = "operations"
WORDS = {
    "lost": "CPU{cpu} stored {value} to {pa} at {at}, made of {old}: the {lost} that CPU{writer} stored at "
    "{stored_at} in between is lost"
}
IDENTITY = ("cpu", "pa")
FIX = {"lost": "an atomic read-modify-write, or a lock"}
_NEAR_LINES = 3  # of a host task, between a load and the store that belongs to it
_KINDS = frozenset({Kind.LOAD, *STORES})
_SIZE_AT = 7  # byte of a PA that is clear, for the size


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each store over a value that its CPU has not seen.

    A store belongs to a load of the same bytes when it is the CPU's next access to them and what it stores
    may be made of the loaded value (:class:`emu.arch.dataflow.DataFlow`). A host task's values are not
    followed: there the new value must be the old one and one more or less, or with one bit changed, and the
    two stand close together.
    """
    # By PA and size: of each CPU whose last access to them is a load its value, PC and record.
    loads: dict[tuple[int, int], dict[int, tuple[int, int, int]]] = {}
    # By CPU, PA and size: CPU, PC, value and record of another's store since that load.
    between: dict[tuple[int, int, int], tuple[int, int, int, int]] = {}
    found: list[Finding] = []
    for number, (kind, size, cpu, pc, pa, value) in trace.flagged(_of_words(trace.columns())):
        if kind == Kind.LOAD:
            loads.setdefault((pa, size), {})[cpu] = (value, pc, number)
            between.pop((cpu, pa, size), None)
        elif kind in STORES:
            readers = loads.get((pa, size), {})
            load = readers.pop(cpu, None)
            other = between.pop((cpu, pa, size), None)
            if (
                kind == Kind.STORE
                and load is not None
                and other is not None
                and _belongs(trace, cpu, load, (value, pc, number))
            ):
                who, where, theirs, stored = other
                data = {
                    "cpu": cpu,
                    "value": Word(value),
                    "pa": PA(pa),
                    "at": trace.place(pc),
                    "old": Word(load[0]),
                    "lost": Word(theirs),
                    "writer": who,
                    "stored_at": trace.place(where),
                }
                found.append(Finding.of(NAME, "lost", (cpu, who), data, (load[2], stored, number)))
            for reader in readers:
                between[reader, pa, size] = (cpu, pc, value, number)
    return each_once(found)


def _of_words(columns: Columns) -> bytes:
    # Flags of the accesses to words that several CPUs store to: no other can lose an update.
    words = with_bytes(columns.pas, _SIZE_AT, columns.sizes)
    stores = columns.are(*STORES)
    stored = of_several(array("Q", compress(words, stores)), array("H", compress(columns.actors, stores)))
    return both(columns.are(*_KINDS), among(words, stored)) if stored else bytes(len(stores))


def _belongs(trace: Trace, cpu: int, load: tuple[int, int, int], store: tuple[int, int, int]) -> bool:
    # Each with value, PC and number of the record.
    (old, loaded_at, first), (value, stored_at, last) = load, store
    here, there = trace.place(loaded_at), trace.place(stored_at)
    if isinstance(here, Source) and isinstance(there, Source):
        small = 0 < abs(value - old) <= 1 or (value ^ old).bit_count() == 1
        return small and here.file == there.file and 0 <= there.line - here.line <= _NEAR_LINES
    if isinstance(here, Source) or isinstance(there, Source):
        return False
    rows = (trace.row(number) for number in range(first, last + 1))
    return trace.flow.depends(pc for kind, _, who, pc, _, _ in rows if who == cpu and kind in OPERATIONS)
