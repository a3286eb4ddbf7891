"""The board of the whole depth: where devices are, and how they are wired, as on QEMU's ``virt``.

:source: QEMU 7.2 hw/arm/virt.c (memory map, interrupt map); Linux v6.12 Documentation/devicetree/bindings:
    interrupt-controller/arm,gic.yaml, arm,gic-v3.yaml, timer/arm,arch_timer.yaml, serial/pl011.yaml
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from emu.arch.flat_tree import texts, u32, u64
from emu.devices.controllers import CONTROLLERS
from emu.devices.pl011 import Pl011
from emu.devices.protocol import Console, CpuTimer, SystemRegisters
from emu.devices.timer import HYP_PHYSICAL, HYP_VIRTUAL, PHYSICAL, VIRTUAL, GenericTimer
from emu.machine import Machine
from emu.topology.acpi.devices import AcpiDevices
from emu.topology.devicetree.write import Node

UART_PA = 0x0900_0000
UART_SIZE = 0x1000
_DISTRIBUTOR_PA, _DISTRIBUTOR_SIZE = 0x0800_0000, 0x1_0000
_CPU_INTERFACE_PA, _CPU_INTERFACE_SIZE = 0x0801_0000, 0x1_0000
# Below RAM, where 123 CPUs have room, and above all of it.
_REDISTRIBUTORS_PA, _REDISTRIBUTORS_MAX, _REDISTRIBUTORS_HIGH_PA = 0x080A_0000, 123, 0x40_0000_0000
REDISTRIBUTOR_SIZE = 0x2_0000  # of each CPU
_UART_INTID = 32 + 1
# INTIDs of the timers' lines.
_TIMER_INTIDS = {PHYSICAL: 30, VIRTUAL: 27, HYP_PHYSICAL: 26, HYP_VIRTUAL: 28}
_SPI, _PPI, _LEVEL = 0, 1, 4
# The second region of a controller.
_SECOND = {"gicv3": "redistributors", "gicv2": "cpu-interface"}
_GIC_HANDLE, _CLOCK_HANDLE = 0x8001, 0x8000
_SECURE_PPI = 13
_UART_HZ = 24_000_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where the devices of a board are, and how they are wired.

    :ivar controller: the name of the interrupt controller
    :ivar distributor: PA and size of its distributor
    :ivar second: of the redistributors of a GICv3, of the CPU interface of a GICv2
    :ivar more: of further regions of redistributors
    :ivar timers: INTIDs of the timers' lines
    :ivar uart_pa: of the UART, -1: there is none
    :ivar uart_intid: its interrupt
    :ivar uart_path: its path in a device tree
    """

    controller: str
    distributor: tuple[int, int]
    second: tuple[int, int]
    timers: Mapping[int, int] = field(default_factory=_TIMER_INTIDS.copy)
    uart_pa: int = UART_PA
    uart_intid: int = _UART_INTID
    uart_path: str = f"/pl011@{UART_PA:x}"
    more: tuple[tuple[int, int], ...] = ()

    def regions(self) -> list[tuple[str, range]]:
        """Return the PAs of each device that has registers in memory."""
        second = _SECOND[self.controller]
        found = [("distributor", self.distributor), (second, self.second)]
        found += [(f"{second}-{number}", place) for number, place in enumerate(self.more, 1)]
        uart = [("UART", (self.uart_pa, UART_SIZE))] if self.uart_pa >= 0 else []
        return [(name, range(base, base + size)) for name, (base, size) in (*found, *uart)]


def virt_places(controller: str, cpus: int) -> Places:
    """Return the places of QEMU's virt, for so many CPUs."""
    second = _CPU_INTERFACE_PA, _CPU_INTERFACE_SIZE
    more: tuple[tuple[int, int], ...] = ()
    if controller == "gicv3":
        low = min(cpus, _REDISTRIBUTORS_MAX)
        second = _REDISTRIBUTORS_PA, low * REDISTRIBUTOR_SIZE
        high = (_REDISTRIBUTORS_HIGH_PA, (cpus - low) * REDISTRIBUTOR_SIZE)
        more = (high,) if cpus > low else ()
    return Places(controller, (_DISTRIBUTOR_PA, _DISTRIBUTOR_SIZE), second, more=more)


# Gives the next line that is typed, with its end; nothing: there is no more.
Typed = Callable[[], bytes]


class Board:
    """The devices of one machine.

    ``receives`` comes in at the UART; then a line of ``typed`` each time that all CPUs sleep and the UART's
    driver has read what has come, up to an empty one.

    :ivar places: where they are
    :ivar on_line: takes each line that the UART prints
    """

    def __init__(
        self,
        machine: Machine,
        controller: str,
        receives: bytes,
        places: Places | None = None,
        typed: Typed | None = None,
    ) -> None:
        self.places = places or virt_places(controller, len(machine.actors))
        self._received = bytearray(receives)
        self._typed = typed
        self._uart: Pl011 | None = None
        self._cpus = len(machine.actors)
        self.on_line: Console | None = None
        self.timer: CpuTimer = self._build(machine)

    @property
    def controller(self) -> str:
        """The name of its interrupt controller."""
        return self.places.controller

    def _build(self, machine: Machine) -> CpuTimer:
        bus, places = machine.devices, self.places
        wired = bus.controller_board()
        if places.more:
            regions = (places.second, *places.more)
            wired = replace(wired, redistributors=tuple(size // REDISTRIBUTOR_SIZE for _, size in regions))
        made = CONTROLLERS[self.controller].controller(wired)
        bus.controller = made
        pas = dict(places.regions())
        for name, device in made.regions().items():
            bus.add(pas[name], device)
        if isinstance(made, SystemRegisters):
            bus.add_registers(made)
        timer = GenericTimer(bus.board(0, dict(places.timers)))
        bus.add_registers(timer)
        if places.uart_pa >= 0:
            wires = {0: places.uart_intid}
            board = bus.board(places.uart_pa, wires)
            self._uart = Pl011(replace(board, console=self._print, receives=self._received))
            bus.add(pas["UART"], self._uart)
            if self._typed is not None:
                machine.when_asleep = self._ask
        return timer

    def _ask(self) -> bool:
        # All CPUs sleep. Time stands still until there is a line: when it comes does not depend on who types.
        if self._typed is None or self._uart is None or not self._uart.waits:
            return False
        line = self._typed()
        if not line:
            self._typed = None
            return False
        self._received += line
        self._uart.receive()
        return True

    def _print(self, line: str) -> None:
        if self.on_line is not None:
            self.on_line(line)

    # -- for the device tree ----------------------------------------------------------------------

    @property
    def interrupt_parent(self) -> int:
        """Phandle of the interrupt controller."""
        return _GIC_HANDLE

    @property
    def stdout_path(self) -> str:
        """Path of the UART."""
        return self.places.uart_path

    def nodes(self) -> Sequence[Node]:
        """Return the nodes of the devices."""
        return (self._controller_node(), self._timer_node(), _clock_node(), _uart_node())

    def acpi_devices(self) -> AcpiDevices:
        """Return what ACPI tables say of the devices."""
        is_v3 = self.controller == "gicv3"
        redistributors = (self.places.second, *self.places.more) if is_v3 else ()
        interface = 0 if is_v3 else _CPU_INTERFACE_PA
        lines = (PHYSICAL, VIRTUAL, HYP_PHYSICAL, HYP_VIRTUAL)
        physical, virtual, hyp, hyp_virtual = (_TIMER_INTIDS[line] for line in lines)
        timers = (_SECURE_PPI + 16, physical, virtual, hyp, hyp_virtual)
        version = 3 if is_v3 else 2
        return AcpiDevices(
            version, _DISTRIBUTOR_PA, interface, redistributors, timers, (UART_PA, _UART_INTID)
        )

    def _controller_node(self) -> Node:
        is_v3 = self.controller == "gicv3"
        regions = (self.places.second, *self.places.more)
        several = {"#redistributor-regions": u32(len(regions))} if len(regions) > 1 else {}
        return Node(
            f"intc@{_DISTRIBUTOR_PA:x}",
            {
                "compatible": texts("arm,gic-v3" if is_v3 else "arm,cortex-a15-gic"),
                "#interrupt-cells": u32(3),
                "interrupt-controller": b"",
                "reg": u64(_DISTRIBUTOR_PA, _DISTRIBUTOR_SIZE, *chain.from_iterable(regions)),
                "phandle": u32(_GIC_HANDLE),
            }
            | several,
        )

    def _timer_node(self) -> Node:
        # Secure physical, physical, virtual, hypervisor's. Of a GICv2 bits 15:8 say which CPUs have the PPI.
        mask = ((1 << self._cpus) - 1 & 0xFF) << 8 if self.controller == "gicv2" else 0
        ppis = (_SECURE_PPI, *(_TIMER_INTIDS[line] - 16 for line in (PHYSICAL, VIRTUAL, HYP_PHYSICAL)))
        return Node(
            "timer",
            {
                "compatible": texts("arm,armv8-timer"),
                "interrupts": b"".join(_cells(_PPI, ppi, mask | _LEVEL) for ppi in ppis),
                "always-on": b"",
            },
        )


def _cells(*values: int) -> bytes:
    return b"".join(u32(value) for value in values)


def _clock_node() -> Node:
    return Node(
        "apb-pclk",
        {
            "compatible": texts("fixed-clock"),
            "#clock-cells": u32(0),
            "clock-frequency": u32(_UART_HZ),
            "clock-output-names": texts("clk24mhz"),
            "phandle": u32(_CLOCK_HANDLE),
        },
    )


def _uart_node() -> Node:
    return Node(
        f"pl011@{UART_PA:x}",
        {
            "compatible": texts("arm,pl011", "arm,primecell"),
            "reg": u64(UART_PA, UART_SIZE),
            "interrupts": _cells(_SPI, _UART_INTID - 32, _LEVEL),
            "clock-names": texts("uartclk", "apb_pclk"),
            "clocks": _cells(_CLOCK_HANDLE, _CLOCK_HANDLE),
        },
    )
