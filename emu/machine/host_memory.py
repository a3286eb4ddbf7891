"""Accesses of host tasks to memory: through the memory model, with all who have to notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emu.cpu.engine import LINE_SHIFT
from emu.machine.actor import Actor
from emu.operation import Access, Kind

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class HostMemory:
    """Loads and stores of the host tasks of ``machine``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._memory = machine.memory
        self._recorder = machine.recorder
        self._code_lines = machine.engine.code.lines
        self._note_stored = machine.engine.code.stored.add
        self._spinning = machine.queue.spinning
        self.stored_at: dict[int, int] = {}  # by PA, the time (ns) of the last store of a host task

    def load(
        self, cpu: int, actor: Actor, pa: int, size: int, cacheable: bool = True, plain: bool = False
    ) -> int:
        """Return the value (unsigned) that a load gives, and keep it in the trace."""
        value = self.read(pa, size, cacheable)
        if self._recorder.recording:
            self._recorder.host_operation(Kind.LOAD, cpu, actor, pa, value, size)
        return value

    def store(
        self,
        cpu: int,
        actor: Actor,
        pa: int,
        value: int,
        size: int,
        cacheable: bool = True,
        plain: bool = False,
    ) -> None:
        """Make a store of the low ``size`` bytes of ``value``, and keep it in the trace."""
        self._write(actor, pa, size, value, cacheable)
        if self._recorder.recording:
            self._recorder.host_operation(Kind.STORE, cpu, actor, pa, value & (1 << 8 * size) - 1, size)

    def read(self, pa: int, size: int, cacheable: bool = True) -> int:
        """Return the value that a load gives."""
        if self._machine.model is not None:
            self._machine.model.access(self._machine.current, pa, size, cacheable, False)
        return self._memory.read(pa, size)

    def write(self, actor: Actor, access: Access) -> None:
        """Make a store whose transition is done: monitors have noticed it."""
        self._write(actor, access.pa, access.size, access.value, access.cacheable)

    def _write(self, actor: Actor, pa: int, size: int, value: int, cacheable: bool) -> None:
        machine = self._machine
        model = machine.model
        if model is not None:
            model.access(machine.current, pa, size, cacheable, True)
        self._memory.write(pa, size, value)
        if model is not None:
            model.settle()
        if machine.interconnect.monitors_armed:
            machine.interconnect.stored(actor.pe, pa, size)
        self._note_stored(pa >> 2)
        if size > 4:
            self._note_stored((pa >> 2) + 1)
        if pa >> LINE_SHIFT in self._code_lines:  # a host store is aligned: it lies in one line
            machine.engine.forget_code()
        self.stored_at[pa] = actor.time
        if pa in self._spinning:
            machine.queue.stored(pa, actor.time)

    def copy(self, cpu: int, actor: Actor, pa: int, data: bytes) -> None:
        """Store ``data`` from ``pa`` on, as a loader does; a CPU that executes there gets the new code."""
        machine = self._machine
        self._put(pa, data)
        machine.interconnect.stored(None, pa, len(data))
        if machine.engine.is_code(pa, len(data)):
            machine.engine.forget_code()
        self._recorder.copy(cpu, self._recorder.host_pc(actor), pa, data)

    @contextmanager
    def set_up(self, cpu: int) -> Iterator[None]:
        """Put what the host writes to memory on the way, in no task, into the trace: ``cpu`` copies it."""
        with self._memory.following() as written:
            yield
        for pas in joined(written):
            data = self._memory.read_bytes(pas.start, len(pas))
            if self._machine.model is not None:
                self._machine.model.put(pas.start, data)
            self._recorder.copy(cpu, 0, pas.start, data)

    def _put(self, pa: int, data: bytes) -> None:
        # Write bytes as who cleans them to the PoC does: memory and the caches have them alike.
        if self._machine.model is None:
            self._memory.write_bytes(pa, data)
        else:
            self._machine.model.put(pa, data)

    def poke(self, pa: int, data: bytes) -> None:
        """Store bytes from outside of the machine, as a debugger does: no CPU has done it."""
        machine = self._machine
        self._put(pa, data)
        machine.interconnect.stored(None, pa, len(data))
        machine.engine.forget_code()  # and the TLB: it may have been a page table
        machine.queue.stored_in(range(pa, pa + len(data)))


def joined(pieces: Iterable[tuple[int, int]]) -> list[range]:
    """Return the PAs of pieces (PA, bytes) as ranges that do not touch, ascending."""
    found: list[range] = []
    for pa, size in sorted(pieces):
        if found and pa <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, pa + size))
        else:
            found.append(range(pa, pa + size))
    return found
