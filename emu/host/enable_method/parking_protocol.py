"""The ACPI parking protocol: a mailbox per CPU, and an interrupt that wakes who waits at it.

Source: Multi-processor Startup for ARM Platforms, version 1 (the protocol's specification); Linux v6.12
arch/arm64/kernel/acpi_parking_protocol.c.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

from emu.host.guest import Guest
from emu.host.played import plays
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.operation import Again, Load, Log, Operation, SendInterrupt, Store, WaitForInterrupt

NAME = "parking-protocol"
FIRMWARES = ("acpi",)
RELEASE_ADDR = True
PARKING_VERSION = 1

_NOBODY = 0xFFFF_FFFF  # cpu_id of a mailbox that firmware has set up
_ENTRY_POINT = 8  # u64 behind u32 cpu_id and u32 reserved
_ENXIO = -6


class ParkingProtocol:
    """``cpu_id`` and ``entry_point`` in the mailbox, then the wake-up interrupt."""

    name = NAME
    why_serial = "is not PSCI, and arch_cpuhp_init_parallel_bringup() takes no other"
    can_die = False

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def power_on(self, machine: Machine, cpus: Collection[int]) -> None:
        """At reset every secondary sleeps at its mailbox until an interrupt comes."""
        for cpu in self._guest.secondaries:
            if cpu in cpus and self._guest.method_of(cpu) == NAME:
                machine.memory.write(self._guest.data.mailbox(cpu), 4, _NOBODY)
                machine.start_task(cpu, self.firmware_task(cpu))

    def firmware_task(self, cpu: int) -> HostTask:
        """Firmware's loop."""
        mailbox_pa = self._guest.data.mailbox(cpu)
        me = self._guest.cpu(cpu).interface
        while True:
            yield WaitForInterrupt()
            cpu_id = yield Load(mailbox_pa, 4, cacheable=False)
            entry_pa = yield Load(mailbox_pa + _ENTRY_POINT, cacheable=False)
            if cpu_id == me and entry_pa:
                # The kernel looks whether it was taken.
                yield Store(mailbox_pa + _ENTRY_POINT, 0, cacheable=False)
                return int(entry_pa), 0
            yield Again()

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """The mailbox was noted when the MADT was read."""
        yield from ()

    @plays("acpi_parking_protocol_cpu_boot", "arch/arm64/kernel/acpi_parking_protocol.c")
    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """acpi_parking_protocol_cpu_boot(): -ENXIO when firmware has not set the mailbox up."""
        mailbox_pa = self._guest.data.mailbox(cpu)
        # The kernel maps the mailbox with ioremap(): Device memory.
        cpu_id = yield Load(mailbox_pa, 4, cacheable=False)
        if cpu_id != _NOBODY:
            return _ENXIO
        yield Store(mailbox_pa + _ENTRY_POINT, self._guest.entry_pa, cacheable=False)
        # The kernel keeps the number in a u8 (struct cpu_mailbox_entry).
        yield Store(mailbox_pa, self._guest.cpu(cpu).interface & 0xFF, 4, cacheable=False)
        yield SendInterrupt(cpu)
        return 0

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """Nothing to do for the boot CPU."""
        yield from ()

    @plays("acpi_parking_protocol_cpu_postboot", "arch/arm64/kernel/acpi_parking_protocol.c")
    def cpu_postboot(self, cpu: int) -> Generator[Operation, Any, None]:
        """acpi_parking_protocol_cpu_postboot(): firmware must have cleared the entry point."""
        entry_pa = yield Load(self._guest.data.mailbox(cpu) + _ENTRY_POINT, cacheable=False)
        if entry_pa:
            yield Log(f"WARNING: CPU: {cpu} PID: 0 at acpi_parking_protocol_cpu_postboot")

    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """The protocol has no way back to the mailbox."""
        yield from ()

    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """op_cpu_kill() without a method: the CPU is taken for dead."""
        yield from ()
        return 0


METHOD = ParkingProtocol
