"""Interrupt controllers for tests, driven as a kernel drives them, whatever their registers are.

Regions tell which registers there are: a GICv2 has a CPU interface in memory, a GICv3 redistributors.
"""

from __future__ import annotations

from typing import Any

from emu.devices.controllers import CONTROLLERS, icc
from emu.devices.protocol import NO_CPU, Board

PPI, SPI, EDGE_SPI = 27, 33, 34  # level-sensitive, level-sensitive, edge-triggered
SPURIOUS = 1023
PRIORITY = 0xA0  # of all
SELF, OTHERS = "self", "others"

_GROUP, _ENABLE, _DISABLE, _PEND, _UNPEND = 0x080, 0x100, 0x180, 0x200, 0x280
_ACTIVATE, _DEACTIVATE, _PRIORITY, _TARGET, _CONFIGURATION = 0x300, 0x380, 0x400, 0x800, 0xC00


class Driver:
    """A controller whose interrupts are all enabled, of the group that is IRQ, and of one priority.

    :ivar signals: what it has signalled: CPU and whether IRQ is high
    """

    def __init__(self, name: str, cpus: int) -> None:
        self.signals: list[tuple[int, bool]] = []
        board = Board(signal=self._signal, hwids=tuple(cpu >> 4 << 8 | cpu & 15 for cpu in range(cpus)))
        self.controller: Any = CONTROLLERS[name].controller(board)
        self.cpus = cpus
        self.regions = dict(self.controller.regions())
        self.distributor = self.regions["distributor"]
        self.interface = self.regions.get("cpu-interface")
        for cpu in range(cpus):
            self._start(cpu)
        for intid in (SPI, EDGE_SPI):
            self.enable(0, intid)
            self.set_priority(0, intid, PRIORITY)
            self.route(intid, 0)
        self.distributor.store(0, _CONFIGURATION + 8, 4, 2 << 2 * (EDGE_SPI - 32), 0)
        self.distributor.store(0, _GROUP + 4, 4, 0 if self.interface else 0xFFFF_FFFF, 0)
        self.distributor.store(0, 0x000, 4, 1 if self.interface else 2, 0)
        self.signals.clear()

    def _signal(self, line: int, cpu: int, high: bool) -> None:
        assert line == 0
        self.signals.append((cpu, high))

    def _start(self, cpu: int) -> None:
        if not self.interface:
            redistributor = self.regions["redistributors"]
            redistributor.store(cpu, cpu << 17 | 0x14, 4, 0, 0)
            redistributor.store(cpu, cpu << 17 | 0x1_0000 | _GROUP, 4, 0xFFFF_FFFF, 0)
            self.controller.write(cpu, icc.ICC_IGRPEN1_EL1, 1, 0)
        else:
            self.interface.store(cpu, 0x00, 4, 1, 0)
        self.array(cpu, 0, _ENABLE, 0xFFFF_FFFF)
        for intid in range(32):
            self.set_priority(cpu, intid, PRIORITY)
        self.set_mask(cpu, 0xF0)

    def array(self, cpu: int, intid: int, array: int, value: int | None = None, size: int = 4) -> int:
        """Load or store at ``array``, an offset with that of ``intid`` in it, where it is for ``cpu``."""
        region, offset = self.distributor, array
        if intid < 32 and not self.interface:
            region, offset = self.regions["redistributors"], cpu << 17 | 0x1_0000 | array
        if value is None:
            return region.load(cpu, offset, size, 0)
        region.store(cpu, offset, size, value, 0)
        return 0

    def _bit(self, cpu: int, intid: int, array: int) -> None:
        self.array(cpu, intid, array + 4 * (intid // 32), 1 << intid % 32)

    def enable(self, cpu: int, intid: int) -> None:
        """Set-enable."""
        self._bit(cpu, intid, _ENABLE)

    def disable(self, cpu: int, intid: int) -> None:
        """Clear-enable."""
        self._bit(cpu, intid, _DISABLE)

    def pend(self, cpu: int, intid: int) -> None:
        """Set-pending."""
        self._bit(cpu, intid, _PEND)

    def unpend(self, cpu: int, intid: int) -> None:
        """Clear-pending."""
        self._bit(cpu, intid, _UNPEND)

    def set_priority(self, cpu: int, intid: int, priority: int) -> None:
        """Store a byte of the priority registers."""
        self.array(cpu, intid, _PRIORITY + intid, priority, 1)

    def route(self, intid: int, cpu: int) -> None:
        """Let an SPI go to ``cpu`` alone."""
        if not self.interface:
            hwid = cpu >> 4 << 8 | cpu & 15
            self.distributor.store(0, 0x6000 + 8 * intid, 4, hwid, 0)
        elif self.cpus > 1:
            self.distributor.store(0, _TARGET + intid, 1, 1 << cpu, 0)

    def is_pending(self, cpu: int, intid: int) -> bool:
        """Read set-pending."""
        return bool(self.array(cpu, intid, _PEND + 4 * (intid // 32)) >> intid % 32 & 1)

    def is_active(self, cpu: int, intid: int) -> bool:
        """Read set-active."""
        return bool(self.array(cpu, intid, _ACTIVATE + 4 * (intid // 32)) >> intid % 32 & 1)

    def set_mask(self, cpu: int, priority: int) -> None:
        """Mask priorities from ``priority`` on."""
        if self.interface:
            self.interface.store(cpu, 0x04, 4, priority, 0)
        else:
            self.controller.write(cpu, icc.ICC_PMR_EL1, priority, 0)

    def set_point(self, cpu: int, bits: int) -> None:
        """Let the lower ``bits`` (3..7) of a priority not count for preemption."""
        if self.interface:
            self.interface.store(cpu, 0x08, 4, bits - 1, 0)
        else:
            self.controller.write(cpu, icc.ICC_BPR1_EL1, bits, 0)

    def split(self, cpu: int) -> None:
        """Let an end of interrupt drop the priority alone: EOImode 1."""
        if self.interface:
            self.interface.store(cpu, 0x00, 4, 1 | 1 << 9, 0)
        else:
            self.controller.write(cpu, icc.ICC_CTLR_EL1, 2, 0)

    def acknowledge(self, cpu: int) -> int:
        """Return what the acknowledge reads; of an SGI of a GICv2 with its source."""
        if self.interface:
            return self.interface.load(cpu, 0x0C, 4, 0)
        value: int = self.controller.read(cpu, icc.ICC_IAR1_EL1, 0)
        return value

    def end(self, cpu: int, value: int) -> None:
        """End what was acknowledged by ``value``."""
        if self.interface:
            self.interface.store(cpu, 0x10, 4, value, 0)
        else:
            self.controller.write(cpu, icc.ICC_EOIR1_EL1, value, 0)

    def deactivate(self, cpu: int, value: int) -> None:
        """Deactivate it."""
        if self.interface:
            self.interface.store(cpu, 0x1000, 4, value, 0)
        else:
            self.controller.write(cpu, icc.ICC_DIR_EL1, value, 0)

    def running(self, cpu: int) -> int:
        """Return the running priority."""
        if self.interface:
            return self.interface.load(cpu, 0x14, 4, 0)
        value: int = self.controller.read(cpu, icc.ICC_RPR_EL1, 0)
        return value

    def send(self, cpu: int, sgi: int, to: int | str) -> None:
        """Send an SGI to a CPU, to SELF or to OTHERS."""
        if self.interface:
            where = {OTHERS: 1 << 24, SELF: 2 << 24}.get(str(to), 1 << 16 + to if isinstance(to, int) else 0)
            self.distributor.store(cpu, 0xF00, 4, where | sgi, 0)
            return
        target = cpu if to == SELF else to
        where = 1 << 40 if isinstance(target, str) else target >> 4 << 16 | 1 << (target & 15)
        self.controller.write(cpu, icc.ICC_SGI1R_EL1, where | sgi << 24, 0)

    def irqs(self) -> list[int]:
        """Return the CPUs whose IRQ is asserted."""
        return [cpu for cpu in range(self.cpus) if self.controller.has_irq(cpu)]

    def set_line(self, intid: int, cpu: int, high: bool) -> None:
        """Change an input: of ``cpu`` if it is a PPI."""
        self.controller.set_line(intid, cpu if intid < 32 else NO_CPU, high)

    def state(self) -> dict[str, Any]:
        """Return the state of all regions."""
        return {name: region.state() for name, region in self.regions.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state` returned."""
        for name, kept in state.items():
            self.regions[name].set_state(kept)
