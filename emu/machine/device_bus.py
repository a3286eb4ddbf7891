"""The devices of a machine: accesses of PEs to their registers, their time, their interrupt lines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from emu.arch.mpidr import hwid
from emu.arch.sysreg import CNTVOFF_EL2, Encoding
from emu.devices.protocol import Board, Device, InterruptController, ShownRegisters, Signal, SystemRegisters
from emu.operation import Kind

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class DeviceBus:
    """Devices by PA.

    MODEL: without an interrupt controller a line that goes high is put into the trace and reaches no CPU.

    :ivar controller: takes the lines that are wired to it; None: there is none
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._devices: list[tuple[range, Device]] = []
        self._deadlines: dict[int, int] = {}  # by base PA; of the timers that are set
        self.controller: InterruptController | None = None
        self._registers: dict[Encoding, SystemRegisters] = {}
        self._owners: list[SystemRegisters] = []

    def __bool__(self) -> bool:
        """Tell whether there are devices with registers in memory."""
        return bool(self._devices)

    def board(self, base_pa: int, wires: dict[int, int] | None = None) -> Board:
        """Return what the device at ``base_pa`` is connected to.

        :param wires: the INTID of each line that goes to the controller
        """
        return self._board(partial(self._signal, base_pa, wires or {}))

    def _counter_offset(self, cpu: int) -> int:
        return self._machine.actors[cpu].pe.sysreg(CNTVOFF_EL2)

    def controller_board(self) -> Board:
        """Return what the interrupt controller is connected to: IRQ and FIQ of the CPUs."""
        return self._board(self._interrupt)

    def _board(self, signal: Signal) -> Board:
        machine = self._machine
        hwids = tuple(hwid(actor.pe.mpidr) for actor in machine.actors)
        return Board(machine.log, signal, hwids, self._counter_offset)

    def _interrupt(self, line: int, cpu: int, high: bool) -> None:
        if self._machine.free is not None:
            self._machine.free.interrupt(cpu, line, high)

    def add(self, pas: range, device: Device) -> None:
        """Put ``device`` at ``pas``, whole pages outside of RAM."""
        self._devices.append((pas, device))
        self._machine.engine.map_device(pas)
        self._tick(pas, device)

    def add_registers(self, device: SystemRegisters) -> None:
        """Let ``device`` own its system registers."""
        self._owners.append(device)
        for encoding in device.encodings:
            self._registers[encoding] = device

    def read_register(self, cpu: int, encoding: Encoding, now: int) -> int | None:
        """Return what an MRS by ``cpu`` reads; None: no device owns the register."""
        device = self._registers.get(encoding)
        return None if device is None else device.read(cpu, encoding, now)

    def look_at_register(self, cpu: int, encoding: Encoding) -> int | None:
        """Return the same for who only looks; None: no device shows it."""
        device = self._registers.get(encoding)
        return device.look(cpu, encoding) if isinstance(device, ShownRegisters) else None

    def write_register(self, cpu: int, encoding: Encoding, value: int, now: int) -> bool:
        """Take an MSR by ``cpu``; False: no device owns the register."""
        device = self._registers.get(encoding)
        if device is None:
            return False
        device.write(cpu, encoding, value, now)
        machine = self._machine
        if machine.free is not None:
            machine.free.progress(cpu)
            machine.engine.free.stop_behind()  # a timer may change at another time now
        return True

    def reset_registers(self, cpu: int, now: int) -> None:
        """``cpu`` is reset: so are the system registers that devices own of it."""
        for device in self._owners:
            device.reset(cpu, now)

    def load(self, cpu: int, pa: int, size: int, now: int) -> int:
        """Return what a load of ``size`` bytes at ``pa`` by ``cpu`` reads."""
        pas, device = self._at(pa)
        value = device.load(cpu, pa - pas.start, size, now)
        self._tick(pas, device)
        return value

    def store(self, cpu: int, pa: int, size: int, value: int, now: int) -> None:
        """Make a store of ``size`` bytes at ``pa`` by ``cpu``."""
        pas, device = self._at(pa)
        device.store(cpu, pa - pas.start, size, value, now)
        if self._machine.free is not None:
            self._machine.free.progress(cpu)
        self._tick(pas, device)

    def _at(self, pa: int) -> tuple[range, Device]:
        return next((pas, device) for pas, device in self._devices if pa in pas)

    def _signal(self, base_pa: int, wires: dict[int, int], line: int, cpu: int, high: bool) -> None:
        # A line of the device at `base_pa` changes.
        machine = self._machine
        machine.recorder.event(Kind.INTERRUPT_LINE, max(machine.current, 0), 0, line, base_pa, int(high))
        if self.controller is not None and line in wires:
            self.controller.set_line(wires[line], cpu, high)

    def _tick(self, pas: range, device: Device) -> None:
        # Let the device see the time, and have it called again when it wants to be.
        machine, base = self._machine, pas.start
        deadline = device.tick(machine.now)
        if deadline is None:
            self._deadlines.pop(base, None)
        elif self._deadlines.get(base) != deadline:
            self._deadlines[base] = deadline
            machine.clock.set_timer(deadline, -1, partial(self._expire, pas, device, deadline))

    def _expire(self, pas: range, device: Device, deadline: int) -> None:
        if self._deadlines.get(pas.start) == deadline:  # else the device has changed its mind since
            del self._deadlines[pas.start]
            self._tick(pas, device)
