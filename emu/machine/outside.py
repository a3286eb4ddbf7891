"""What is around a PE that is run ahead of a machine, without any effect."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.machine.interconnect import access_at
from emu.operation import LOADS, STORES, Kind
from emu.semantics import events

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class Outside(LocalInterconnect):
    """What is around a PE that is run ahead (:class:`emu.cpu.loops.LookAhead`): the machine, unchanged.

    :ivar acts: whether the PE has changed something that is not undone, or looked at a device or the time
    :ivar overwritten: PA and bytes of what its stores have changed, in order
    :ivar changed: by PA, the bytes that they have changed as they are now
    :ivar looks: PA and bytes of the words that it has loaded
    :ivar first_look: PA of the first of them, by CPU
    :ivar asks: whether the PE has asked firmware something
    :ivar ticks: reads of the counter
    """

    def __init__(
        self, machine: Machine, *, stores_act: bool = False, ticks_max: int = 0, together: int = 0
    ) -> None:
        super().__init__()
        self.ticks_max, self.ticks = ticks_max, 0
        self._together = together  # a set of CPUs, which are run ahead
        self._stores_act = stores_act or machine.model is not None
        self.acts = self.asks = False
        self.interrupts = machine.free is not None
        nobody_else = len(machine.queue.runnable) == 1 and not machine.spins.aside
        self.alone = nobody_else and not machine.clock.timers
        self.overwritten: list[tuple[int, bytes]] = []
        self.changed: dict[int, int] = {}
        self.looks: dict[tuple[int, int], None] = {}
        self.first_look: dict[int, int] = {}
        self._machine = machine
        self.system = machine.interconnect.system._replace(monitors=())

    def state(self) -> Hashable:
        """Return the shared state, that of the memory model, and what stores have changed."""
        model = self._machine.model
        state = None if model is None else model.state()
        return self.system, state, frozenset(self.changed.items()), self.ticks

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Notice what loads look at, and stores that change something."""
        if kind in LOADS:
            self.looks[pa, size] = None
            self.first_look.setdefault(pe.index, pa)
        elif kind in STORES:
            memory = self._machine.memory
            if not memory.contains(pa, 1):
                return  # a device's: device_store() is next
            before = memory.read_bytes(pa, min(size, memory.base + memory.size - pa))
            data = value.to_bytes(size, "little") if size <= 8 else b""
            if before != data:
                self.acts |= self._stores_act or not data
                self.overwritten.append((pa, before))
                self.changed.update(enumerate(data, pa))

    def undo(self) -> None:
        """Restore memory to its content before the stores."""
        for pa, data in reversed(self.overwritten):
            self._machine.memory.write_bytes(pa, data)

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Let the memory model show what the access finds."""
        machine = self._machine
        _, cacheable = access_at(machine, pe, va)
        assert machine.model is not None
        machine.model.access(pe.index, pa, size, cacheable, is_store)

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Maintenance is taken for an act: lines may change."""
        self.acts = True

    def maintain_by_set_way(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Likewise."""
        self.acts = True

    def send_event(self, pe: PE) -> None:
        """SEV: an act when it wakes a CPU that is not run ahead."""
        if self.system.asleep & ~self._together:
            self.acts = True
        super().send_event(pe)

    def sleeps(self, pe: PE) -> bool:
        """Tell whether the PE sleeps in a WFE; one whose event register is set wakes now."""
        bit = 1 << pe.index
        if events.woken(self.system) & bit:
            self.system = events.wake(self.system, pe.index)
        return bool(self.system.asleep & bit)

    def call(self, pe: PE, conduit: str) -> int | None:
        """A question to firmware, which answers the same until it has been told something else."""
        power = self._machine.power
        self.asks = True
        return (
            power.ask_in_vain(pe.index, pe.x[0], pe.x[1], pe.x[2], pe.x[3])
            if conduit == power.conduit
            else None
        )

    def passes(self, va: int) -> bool:
        """Tell whether a PE that stops at ``va`` goes on by itself."""
        return va in self._machine.landings.labels and va not in self._machine.landings

    def device_load(self, pe: PE, pa: int, size: int) -> int:
        """What a device gives may change by itself."""
        self.acts = True
        return 0

    def device_store(self, pe: PE, pa: int, size: int, value: int) -> None:
        """The device does something."""
        self.acts = True

    def counter(self, pe: PE) -> int:
        """Time goes on, as the machine's would with each read."""
        self.acts |= not self.ticks_max
        self.ticks += 1
        return self._machine.clock.counter(self.ticks)
