"""What a PE would access next, found by letting it: the instruction is executed and everything is undone."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.memory import Memory
from emu.operation import Access, Kind


class _Collector(LocalInterconnect):
    # Keeps plain accesses and what they overwrite; nobody else notices them.

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.accesses: list[Access] = []
        self.overwritten: list[tuple[int, bytes]] = []
        self._memory = memory

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        if kind is Kind.STORE:
            self.overwritten.append((pa, self._memory.read_bytes(pa, size)))
        if kind in (Kind.LOAD, Kind.STORE):
            is_store = kind is Kind.STORE
            self.accesses.append(Access(pa, size, is_store, value if is_store else 0))


def execute_and_undo(
    pe: UnicornPE, memory: Memory, observing: Observing, step: Callable[[PE], EngineStop]
) -> tuple[Access, ...]:
    """Return the loads and stores of the instruction at the PC, in order; nothing when it is not completed.

    :param step: runs one instruction; observed accesses must be on
    """
    collector = _Collector(memory)
    kept = observing.to, observing.record, observing.access
    state, counters, reached = pe.state(), pe.counters, pe.reached
    pe.reset_counters()
    observing.to, observing.record, observing.access = collector, collector.record, None
    try:
        stop = step(pe)
    finally:
        observing.to, observing.record, observing.access = kept
    for pa, data in reversed(collector.overwritten):
        memory.write_bytes(pa, data)
    pe.set_state(state)
    pe.counters, pe.reached = counters, reached
    return tuple(collector.accesses) if stop is STEP_LIMIT else ()
