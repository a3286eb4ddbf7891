"""Instructions made in parts: one access alone, and the rest of the instruction once all are made.

The engine knows whole instructions. So a part is made here, and the last one is followed by the instruction
itself, which finds what the parts have loaded in memory, and whose own stores are taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.steps import StepCopies, unrecorded
from emu.memory import Memory
from emu.operation import Access, Kind


class InParts:
    """Makes instructions in parts (:class:`emu.cpu.engine.InParts`).

    :param step: runs one instruction
    :param traced: returns the recorder that each step leaves its state with
    """

    def __init__(
        self,
        observing: Observing,
        contexts: Contexts,
        memory: Memory,
        step: Callable[[PE], EngineStop],
        traced: Callable[[], StepCopies | None],
    ) -> None:
        self._observing = observing
        self._contexts = contexts
        self._memory = memory
        self._step = step
        self._traced = traced

    def completes(self, pe: PE, accesses: Sequence[Access]) -> bool:
        """Tell whether the instruction at the PC, which makes these accesses, raises no exception."""
        values = [self._memory.read(access.pa, access.size) for access in accesses]
        state, reached, instructions = pe.state(), pe.reached, pe.counters.instructions
        with unrecorded(self._traced(), 1):
            stop = self.complete(pe, accesses, values)
        pe.set_state(state)
        pe.reached, pe.counters.instructions = reached, instructions
        return stop is STEP_LIMIT

    def make(self, pe: PE, access: Access, arms: int = -1) -> int:
        """Make an access of the instruction at the PC alone; give what it loads, 0 of a store."""
        self._contexts.load(pe)
        observing = self._observing
        if observing.access:
            observing.access(pe, pe.pc, access.pa, access.size, access.is_store)
        if access.is_store:
            self._store(pe, access)
            return 0
        return self._load(pe, access, arms)

    def _load(self, pe: PE, access: Access, arms: int) -> int:
        pa, size, observing = access.pa, access.size, self._observing
        pe.counters.loads += 1
        pe.counters.loads_mmu_off += not pe.mmu_on
        if arms >= 0:
            observing.to.load_exclusive(pe, arms, size)
        value = self._memory.read(pa, size)
        if observing.record:
            observing.record(pe, Kind.LOAD if arms < 0 else Kind.LOAD_EXCLUSIVE, size, pe.pc, pa, value)
        return value

    def _store(self, pe: PE, access: Access) -> None:
        pa, size, observing = access.pa, access.size, self._observing
        pe.counters.stores += 1
        observing.to.stored(pe, pa, size)
        record = observing.to.record if pa in observing.watched else observing.record
        if record:
            record(pe, Kind.STORE, size, pe.pc, pa, access.value)
        self._memory.write(pa, size, access.value)
        self._contexts.code.stored.update(range(pa >> 2, (pa + size + 3) >> 2))
        if self._contexts.code.holds(pa, size):
            self._contexts.forget_code()
            self._contexts.load(pe)

    def complete(self, pe: PE, accesses: Sequence[Access], values: Sequence[int]) -> EngineStop:
        """Do the instruction at the PC, whose accesses are all made and have loaded ``values``."""
        memory, observing = self._memory, self._observing
        before = [(access.pa, memory.read_bytes(access.pa, access.size)) for access in accesses]
        for access, value in zip(accesses, values, strict=True):
            if not access.is_store:
                memory.write(access.pa, access.size, value)
        kept, counters = (observing.to, observing.record, observing.access), pe.counters
        pe.reset_counters()
        observing.to, observing.record, observing.access = LocalInterconnect(), None, None
        try:
            stop = self._step(pe)
        finally:
            observing.to, observing.record, observing.access = kept
            counters.instructions += pe.counters.instructions
            pe.counters = counters
            for pa, data in reversed(before):
                memory.write_bytes(pa, data)
        return stop
