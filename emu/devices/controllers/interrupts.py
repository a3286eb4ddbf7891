"""What GICv2 and GICv3 have in common: banks of interrupts, CPU interfaces, and the way between them.

:source: Arm IHI 0048B, 3.2, 4.3; Arm IHI 0069, 4.1, 4.7
"""

from __future__ import annotations

from typing import Any

from emu.devices.controllers.bank import PRIVATE, SGIS, Bank
from emu.devices.controllers.interface import IDLE, SPURIOUS, Interface
from emu.devices.protocol import FIQ, IRQ, WAKE, Signal

_U32 = 0xFFFF_FFFF


class Interrupts:
    """All interrupts of a controller, and what they are for each CPU.

    :ivar intids: how many there are
    :ivar fixed: SGIs that are always enabled, and cannot be set pending by a mask
    :ivar private: SGIs and PPIs of each CPU
    :ivar shared: SPIs
    :ivar groups: interrupt groups that are forwarded to the interfaces: bits 0 and 1
    :ivar routes: the SPIs that go to a CPU, by its number; a CPU without any is not there
    """

    def __init__(self, intids: int, interfaces: list[Interface], fixed: int, signal: Signal) -> None:
        """:param signal: is told of changes of IRQ and FIQ of each CPU."""
        self.intids, self.interfaces, self.fixed, self._signal = intids, interfaces, fixed, signal
        self.private = [Bank(PRIVATE, fixed, SGIS) for _ in interfaces]
        self.shared = Bank(intids)
        self.groups = 0
        self.routes: dict[int, int] = {}
        self._acknowledged = [[0, 0] for _ in interfaces]  # SGIs, and others

    # -- inputs and outputs -----------------------------------------------------------------------

    def has_irq(self, cpu: int) -> bool:
        """Tell whether IRQ of ``cpu`` is asserted."""
        return self.interfaces[cpu].irq

    def has_fiq(self, cpu: int) -> bool:
        """Tell whether FIQ of ``cpu`` is asserted."""
        return self.interfaces[cpu].fiq

    def wakes(self, cpu: int) -> bool:
        """Tell whether the interface of ``cpu`` sleeps and there is an interrupt for it (WakeRequest)."""
        return self.interfaces[cpu].wakes

    def set_line(self, intid: int, cpu: int, high: bool) -> None:
        """Take the level of an input: an SPI, or a PPI of ``cpu``."""
        bit = 1 << intid
        self.bank(cpu, intid).set_line(bit, high)
        self.changed(cpu, bit)

    def bank(self, cpu: int, intid: int) -> Bank:
        """Return the bank that has ``intid``, as ``cpu`` sees it."""
        return self.private[cpu] if intid < PRIVATE else self.shared

    # -- what is pending where --------------------------------------------------------------------

    def changed(self, cpu: int, bits: int) -> None:
        """Interrupts have changed: SPIs, or private ones of ``cpu``."""
        if bits <= _U32:
            self.update(cpu)
            return
        for routed, spis in self.routes.items():
            if spis & bits:
                self.update(routed)

    def route(self, cpu: int, intid: int, is_routed: bool) -> None:
        """Let an SPI go to ``cpu`` or not."""
        spis = self.routes.get(cpu, 0) & ~(1 << intid) | is_routed << intid
        if spis:
            self.routes[cpu] = spis
        else:
            self.routes.pop(cpu, None)
        self.update(cpu)

    def update_all(self) -> None:
        """Something has changed for all CPUs."""
        for cpu in range(len(self.interfaces)):
            self.update(cpu)

    def update(self, cpu: int) -> None:
        """Find out what is pending for ``cpu`` after something has changed, and signal it."""
        interface = self.interfaces[cpu]
        irq, fiq, wakes = interface.irq, interface.fiq, interface.wakes
        self._find(cpu)
        if interface.irq != irq:
            self._signal(IRQ, cpu, interface.irq)
        if interface.fiq != fiq:
            self._signal(FIQ, cpu, interface.fiq)
        if interface.wakes != wakes:
            self._signal(WAKE, cpu, interface.wakes)

    def _find(self, cpu: int) -> None:
        # Of equal priorities the lowest INTID goes first.
        interface, best, best_priority, best_of = self.interfaces[cpu], SPURIOUS, IDLE, self.shared
        ready = self._ready(cpu)
        interface.wakes = bool(interface.is_asleep and ready)
        if interface.is_asleep:
            ready = 0
        while ready:
            bit = ready & -ready
            ready ^= bit
            intid = bit.bit_length() - 1
            bank = self.bank(cpu, intid)
            if bank.priorities[intid] < best_priority:
                best, best_priority, best_of = intid, bank.priorities[intid], bank
        interface.set_pending(best, best_priority, best_of.group1 >> best & 1)

    def _ready(self, cpu: int) -> int:
        ready = self.private[cpu].ready(self.groups)
        if cpu in self.routes:
            ready |= self.shared.ready(self.groups) & self.routes[cpu]
        return ready

    # -- what a CPU does --------------------------------------------------------------------------

    def activate(self, cpu: int) -> int:
        """Acknowledge what is pending for ``cpu``; return its INTID."""
        interface = self.interfaces[cpu]
        intid = interface.pending
        bank, bit = self.bank(cpu, intid), 1 << intid
        bank.active |= bit
        bank.latched &= ~bit
        interface.activate()
        self._acknowledged[cpu][not SGIS >> intid & 1] += 1
        self.changed(cpu, bit)
        return intid

    def acknowledged(self, cpu: int) -> tuple[int, int]:
        """Return how many SGIs ``cpu`` has acknowledged so far, and how many other interrupts."""
        sgis, others = self._acknowledged[cpu]
        return sgis, others

    def deactivate(self, cpu: int, intid: int) -> None:
        """``cpu`` has dealt with ``intid``."""
        self.bank(cpu, intid).active &= ~(1 << intid)
        self.changed(cpu, 1 << intid)

    def end(self, cpu: int, group: int, intid: int) -> None:
        """Drop the highest priority of ``group`` that is active on ``cpu``; deactivate, if ends do both."""
        interface = self.interfaces[cpu]
        interface.drop(group)
        if not interface.is_split:
            self.bank(cpu, intid).active &= ~(1 << intid)
            if intid >= PRIVATE:
                self.changed(cpu, 1 << intid)
        self.update(cpu)

    # -- state ------------------------------------------------------------------------------------

    def private_state(self) -> Any:
        """Return the private interrupts of each CPU."""
        return tuple(bank.state() for bank in self.private)

    def set_private_state(self, state: Any) -> None:
        """Restore what :meth:`private_state` returned."""
        for bank, kept in zip(self.private, state, strict=True):
            bank.set_state(kept)
        self._find_all()

    def shared_state(self) -> Any:
        """Return the SPIs, where they go, and which groups are forwarded."""
        return self.groups, tuple(sorted(self.routes.items())), self.shared.state()

    def set_shared_state(self, state: Any) -> None:
        """Restore what :meth:`shared_state` returned."""
        self.groups, routes, shared = state
        self.routes = dict(routes)
        self.shared.set_state(shared)
        self._find_all()

    def interfaces_state(self) -> Any:
        """Return the registers of each interface."""
        counts = tuple(tuple(each) for each in self._acknowledged)
        return tuple(interface.state() for interface in self.interfaces), counts

    def set_interfaces_state(self, state: Any) -> None:
        """Restore what :meth:`interfaces_state` returned."""
        registers, counts = state
        for interface, kept in zip(self.interfaces, registers, strict=True):
            interface.set_state(kept)
        self._acknowledged = [list(each) for each in counts]
        self._find_all()

    def _find_all(self) -> None:
        # Who restores a state knows what is signalled.
        for cpu in range(len(self.interfaces)):
            self._find(cpu)
