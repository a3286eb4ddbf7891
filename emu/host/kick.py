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
from emu.host.telemetry import decode_failure, update_cpu_boot_status
from emu.operation import Log, Operation, Report, Reported, Store

KICK = "arch_cpuhp_kick_ap_alive"  # the kernel's own, where it has one

_EPERM, _EFAULT = -1, -14


class Kick:
    """arch_cpuhp_kick_ap_alive() and arch_cpuhp_cleanup_kick_cpu() for one guest."""

    def __init__(self, guest: Guest, core: Core, method: EnableMethod) -> None:
        self.guest = guest
        self.core = core
        self.method = method
        self.data_read_only = False

    def kick_ap_alive(self, cpu: int) -> Generator[Operation, Any, int]:
        """arch_cpuhp_kick_ap_alive(): let the enable-method start the CPU; 0 or a negative errno."""
        slot_pa = self.guest.slot_pa(cpu)
        if self.data_read_only:
            va = self.guest.slot_va(cpu)
            line = f"Unable to handle kernel write to read-only memory at virtual address {va:016x}"
            yield Log(line, Reported(Report.READ_ONLY, detail=va))
            return _EFAULT
        yield Store(self.guest.data.done(cpu), 0, 4)
        yield Store(slot_pa + CPU_BOOT_TASK, self.guest.idle[cpu].task, plain=True)
        yield from update_cpu_boot_status(slot_pa, CPU_MMU_OFF)
        result: int = yield from self.method.cpu_boot(cpu)
        if result and result != _EPERM:
            yield Log(f"CPU{cpu}: failed to boot: {result}", Reported(Report.FAILED, cpu))
        return result

    def cleanup(self, cpu: int, is_alive: bool) -> Generator[Operation, Any, None]:
        """arch_cpuhp_cleanup_kick_cpu(): read what a CPU that is not alive left behind."""
        yield from self.method.cpu_booted(cpu)
        if not is_alive and self.guest.design.decodes_failures:
            yield from decode_failure(self.guest, self.method, cpu)
