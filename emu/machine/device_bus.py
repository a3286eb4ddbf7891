"""The devices of a machine: accesses of PEs to their registers, their time, their interrupt lines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from emu.devices.protocol import Device
from emu.operation import Kind

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class DeviceBus:
    """Devices by PA.

    MODEL: there is no interrupt controller: a line that goes high is put into the trace and reaches no CPU.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._devices: list[tuple[range, Device]] = []
        self._asserted: dict[int, frozenset[int]] = {}  # by base PA
        self._deadlines: dict[int, int] = {}  # likewise; of the timers that are set

    def add(self, pas: range, device: Device) -> None:
        """Put ``device`` at ``pas``, whole pages outside of RAM."""
        self._devices.append((pas, device))
        self._machine.engine.map_device(pas)
        self._tick(pas, device)

    def load(self, pa: int, size: int, now: int) -> int:
        """Return what a load of ``size`` bytes at ``pa`` reads."""
        pas, device = self._at(pa)
        value = device.load(pa - pas.start, size, now)
        self._tick(pas, device)
        return value

    def store(self, pa: int, size: int, value: int, now: int) -> None:
        """Make a store of ``size`` bytes at ``pa``."""
        pas, device = self._at(pa)
        device.store(pa - pas.start, size, value, now)
        self._tick(pas, device)

    def _at(self, pa: int) -> tuple[range, Device]:
        return next((pas, device) for pas, device in self._devices if pa in pas)

    def _tick(self, pas: range, device: Device) -> None:
        # Let the device see the time, have it called again when it wants to be, and follow its lines.
        machine, base = self._machine, pas.start
        deadline = device.tick(machine.now)
        if deadline is None:
            self._deadlines.pop(base, None)
        elif self._deadlines.get(base) != deadline:
            self._deadlines[base] = deadline
            machine.clock.set_timer(deadline, -1, partial(self._expire, pas, device, deadline))
        before, after = self._asserted.get(base, frozenset()), device.asserted
        self._asserted[base] = after
        for line in sorted(before ^ after):
            cpu = max(machine.current, 0)
            machine.recorder.event(Kind.INTERRUPT_LINE, cpu, 0, line, base, int(line in after))

    def _expire(self, pas: range, device: Device, deadline: int) -> None:
        if self._deadlines.get(pas.start) == deadline:  # else the device has changed its mind since
            del self._deadlines[pas.start]
            self._tick(pas, device)
