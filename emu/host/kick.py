"""The architecture's part of a kick: boot data, enable-method, failure telemetry (arch/arm64/kernel/smp.c).

The real kernel's own functions do it where it has them (:mod:`emu.host.kernel_kick`); this is the Python one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.arch.boot import CPU_BOOT_TASK, CPU_MMU_OFF
from emu.host.cpuhp import Core
from emu.host.enable_method import EnableMethod
from emu.host.guest import Guest
from emu.host.played import plays
from emu.host.telemetry import decode_failure, update_cpu_boot_status
from emu.operation import Log, Operation, Report, Reported, Store

KICK = "arch_cpuhp_kick_ap_alive"  # the kernel's own, where it has one

_EPERM, _EFAULT = -1, -14


class Kick:
    """The kick and what comes after the wait, of one guest; of a serial bring-up both are in __cpu_up()."""

    def __init__(self, guest: Guest, core: Core, method: EnableMethod) -> None:
        self.guest = guest
        self.core = core
        self.method = method
        self.data_read_only = False

    @plays("arch_cpuhp_kick_ap_alive", "arch/arm64/kernel/smp.c")
    def kick_ap_alive(self, cpu: int) -> Generator[Operation, Any, int]:
        """The kick as a function of its own, of a kernel whose bring-up is split."""
        return (yield from self.kick(cpu))

    @plays("arch_cpuhp_cleanup_kick_cpu", "arch/arm64/kernel/smp.c")
    def cleanup_kick_cpu(self, cpu: int, is_alive: bool) -> Generator[Operation, Any, None]:
        """What comes after the wait as a function of its own."""
        yield from self.cleanup(cpu, is_alive)

    def kick(self, cpu: int) -> Generator[Operation, Any, int]:
        """Write the CPU's boot data and let the enable-method start it; 0 or a negative errno."""
        slot_pa = self.guest.slot_pa(cpu)
        if self.data_read_only:
            va = self.guest.slot_va(cpu)
            line = f"Unable to handle kernel write to read-only memory at virtual address {va:016x}"
            yield Log(line, Reported(Report.READ_ONLY, detail=va))
            return _EFAULT
        yield Store(self.guest.data.done(cpu), 0, 4)
        yield Store(slot_pa + CPU_BOOT_TASK, self.guest.idle[cpu].task, plain=True)
        yield from update_cpu_boot_status(slot_pa, CPU_MMU_OFF)
        result = yield from self._boot_secondary(cpu)
        if result and result != _EPERM:
            yield Log(f"CPU{cpu}: failed to boot: {result}", Reported(Report.FAILED, cpu))
        return result

    @plays("boot_secondary", "arch/arm64/kernel/smp.c")
    def _boot_secondary(self, cpu: int) -> Generator[Operation, Any, int]:
        return (yield from self.method.cpu_boot(cpu))

    def cleanup(self, cpu: int, is_alive: bool) -> Generator[Operation, Any, None]:
        """After the wait: reset the enable-method, and read what a CPU that is not alive left behind."""
        yield from self.method.cpu_booted(cpu)
        if not is_alive and self.guest.design.decodes_failures:
            yield from decode_failure(self.guest, self.method, cpu)
