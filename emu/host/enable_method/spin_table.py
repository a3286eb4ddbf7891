"""The spin-table enable-method: firmware's spin loop, the kernel's pen, and the boot CPU's side of both.

Source: Linux v6.12 arch/arm64/kernel/smp_spin_table.c, Documentation/arch/arm64/booting.rst; the word
goes back to INVALID_HWID once the CPU is up.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

from emu.arch.mpidr import INVALID_HWID
from emu.host.dcache import clean
from emu.host.guest import Guest
from emu.host.played import plays
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.operation import Again, Load, Operation, SendEvent, Store, WaitForEvent

NAME = "spin-table"
FIRMWARES = ("devicetree",)
RELEASE_ADDR = SENDS_EVENT = CLEANS = True


class SpinTable:
    """``cpu-release-addr`` per CPU, then one ``secondary_holding_pen_release`` word for all."""

    name = NAME
    why_serial = "releases one CPU at a time"
    can_die = False

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._pen_pa = guest.subject.pa("secondary_holding_pen")
        self._release_pa = guest.subject.pa("secondary_holding_pen_release")

    def power_on(self, machine: Machine, cpus: Collection[int]) -> None:
        """At reset every secondary runs firmware's loop, waiting for its release address to be set."""
        for cpu in self._guest.secondaries:
            if cpu in cpus and self._guest.method_of(cpu) == NAME:
                machine.start_task(cpu, self.firmware_task(cpu))

    def firmware_task(self, cpu: int) -> HostTask:
        """Firmware's loop."""
        word_pa = self._guest.data.release(cpu)
        while True:
            entry_pa = yield Load(word_pa, cacheable=False)
            if entry_pa:
                return int(entry_pa), 0
            yield WaitForEvent()
            yield Again()

    @plays("smp_spin_table_cpu_prepare", "arch/arm64/kernel/smp_spin_table.c")
    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """smp_spin_table_cpu_prepare(): send the CPU from firmware into the pen."""
        word_pa = self._guest.data.release(cpu)
        yield Store(word_pa, self._pen_pa)
        yield from clean(word_pa)
        yield SendEvent()

    @plays("smp_spin_table_cpu_boot", "arch/arm64/kernel/smp_spin_table.c")
    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """smp_spin_table_cpu_boot(): name the CPU that may leave the pen."""
        yield from self._write_pen_release(self._guest.hwids[cpu])
        yield SendEvent()
        return 0

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """The word no longer names a CPU."""
        yield from self._write_pen_release(INVALID_HWID)

    def cpu_postboot(self, cpu: int) -> Generator[Operation, Any, None]:
        """Nothing to do for spin-table."""
        yield from ()

    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """Spin-table has no way to leave."""
        yield from ()

    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """op_cpu_kill() without a method: the CPU is taken for dead."""
        yield from ()
        return 0

    @plays("write_pen_release", "arch/arm64/kernel/smp_spin_table.c")
    def _write_pen_release(self, value: int) -> Generator[Operation, Any, None]:
        yield Store(self._release_pa, value)
        yield from clean(self._release_pa)


METHOD = SpinTable
