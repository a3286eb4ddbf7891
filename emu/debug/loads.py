"""What a CPU would load from an address now: the one meaning of memory for all front ends of the debugger.

An address is what the CPU has there: through its tables while its MMU is on, else a PA. What it does not map
is taken as the running kernel maps it (image or linear map), or as a PA. Which bytes it finds there is for
the memory model to say: it depends on the caches, and on whether the CPU's access is cacheable. A CPU that
is off has its MMU off; one that runs a host task accesses memory as that task does. Nothing here changes the
machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emu.cpu.attributes import is_cacheable
from emu.cpu.translation import control
from emu.debug.places import Places
from emu.machine import Machine
from emu.machine.actor import Actor, State

_PAGE = 4096
_M, _C = 1 << 0, 1 << 2  # SCTLR_ELx


class Located(NamedTuple):
    """Where an access of one CPU goes: a PA of memory, and whether it looks into the caches."""

    pa: int
    cacheable: bool


class View(NamedTuple):
    """Bytes that these CPUs would load."""

    cpus: tuple[int, ...]
    data: bytes


class Loads:
    """Loads that CPUs of one machine would make.

    :param pa_of: returns the PA of an address (CPU, VA or PA) by the CPU's tables, or None
    """

    def __init__(self, machine: Machine, places: Places, pa_of: Callable[[int, int], int | None]) -> None:
        self._machine = machine
        self._places = places
        self._pa_of = pa_of

    def locate(self, cpu: int, address: int) -> Located | None:
        """Return where a load of ``cpu`` from ``address`` (VA or PA) goes, None: to no memory."""
        memory, actor = self._machine.memory, self._machine.actors[cpu]
        mapped = None if actor.state is State.OFF else self._pa_of(cpu, address)
        if mapped is None or not memory.contains(mapped, 1):
            pa = self._places.pa(address)
            return Located(pa, self._looks_into_caches(actor, None)) if memory.contains(pa, 1) else None
        return Located(mapped, self._looks_into_caches(actor, address))

    def load(self, cpu: int, address: int, size: int) -> bytes:
        """Return what ``cpu`` would load from ``address`` (VA or PA); fewer bytes where memory ends."""
        found = b""
        while len(found) < size:
            at = (address + len(found)) % 2**64
            located = self.locate(cpu, at)
            if located is None:
                break
            found += self._read(cpu, *located, min(size - len(found), _PAGE - at % _PAGE))
        return found

    def load_data(self, cpu: int, pa: int, size: int) -> bytes:
        """Return what ``cpu`` would load from data at a PA, by the address that it has for it."""
        memory = self._machine.memory
        if not memory.contains(pa, 1):
            return b""
        size = max(0, min(size, memory.base + memory.size - pa))
        actor, va = self._machine.actors[cpu], self._places.va(pa)
        named = va if actor.pe.mmu_on and self._pa_of(cpu, va) == pa else None
        return self._read(cpu, pa, self._looks_into_caches(actor, named), size)

    def views(self, pa: int, size: int) -> list[View]:
        """Return what all CPUs would load from data at a PA: those that see the same together."""
        seen: dict[bytes, list[int]] = {}
        for cpu in range(len(self._machine.actors)):
            seen.setdefault(self.load_data(cpu, pa, size), []).append(cpu)
        return [View(tuple(cpus), data) for data, cpus in seen.items()]

    def copies(self, pa: int, size: int) -> bytes:
        """Return all bytes that there are of these: memory's, and those of the caches."""
        memory = self._read(0, pa, False, size)
        return memory if self._machine.model is None else memory + self._read(0, pa, True, size)

    def memory(self, pa: int, size: int) -> bytes:
        """Return the bytes at a PA past all caches."""
        return self._read(0, pa, False, size)

    def line(self, pa: int) -> str:
        """Return what the cache line of a PA is, in words; nothing where the memory model has no lines."""
        return "" if self._machine.model is None else self._machine.model.describe(pa)

    def _read(self, cpu: int, pa: int, cacheable: bool, size: int) -> bytes:
        memory = self._machine.memory
        size = max(0, min(size, memory.base + memory.size - pa))
        if not memory.contains(pa, size):
            return b""
        if self._machine.model is None:
            return memory.read_bytes(pa, size)
        return self._machine.model.seen(cpu, pa, size, cacheable)

    def _looks_into_caches(self, actor: Actor, va: int | None) -> bool:
        # Whether a load of the actor is cacheable: at a VA that it maps, or at an address of the kernel's.
        if self._machine.model is None:
            return True  # it does not matter
        self._machine.model.settle()
        if actor.state is State.OFF:
            return False
        if actor.task is not None:
            return bool(getattr(actor.pending, "cacheable", True))
        if va is None:
            return control(actor.pe) & (_M | _C) == _M | _C
        return is_cacheable(actor.pe, va, self._machine.memory.u64)
