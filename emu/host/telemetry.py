"""What a failing secondary leaves behind, and how the boot CPU reads it (Linux v6.12
arch/arm64/kernel/smp.c).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.arch import boot
from emu.host.enable_method import EnableMethod
from emu.host.guest import Guest
from emu.host.played import plays
from emu.operation import DSB_ISHST, Barrier, Load, Log, Operation, Park, Report, Reported, Store
from emu.outcome import End, Outcome

Task = Generator[Operation, Any, None]
_CPU_MMU_OFF = boot.CPU_MMU_OFF & (2**64 - 1)


@plays("update_cpu_boot_status", "arch/arm64/include/asm/smp.h")
def update_cpu_boot_status(slot_pa: int, status: int) -> Task:
    """update_cpu_boot_status(): write the status word of a struct secondary_data and make it visible."""
    yield Store(slot_pa + boot.CPU_BOOT_STATUS, status)
    yield Barrier(DSB_ISHST)


def read_early_status(guest: Guest, cpu: int) -> Generator[Operation, Any, int]:
    """Give the early status of ``cpu`` as the design lays it out, as one status word."""
    pa = guest.pa_of(guest.subject.va("__early_cpu_boot_status"))
    kind = guest.design.early_status
    if kind == "per_cpu":
        return int((yield Load(pa + 8 * cpu)))
    if kind == "global":
        return int((yield Load(pa)))
    status = 0
    for reason in (boot.CPU_STUCK_REASON_52_BIT_VA, boot.CPU_STUCK_REASON_NO_GRAN):
        byte = yield Load(pa + (reason >> 8) - 1, 1)
        if byte:
            status |= byte | reason
    return status


def decode_failure(guest: Guest, method: EnableMethod, cpu: int) -> Task:
    """The breadcrumbs of a CPU that did not come up, as dmesg lines.

    :source: Linux v6.12 arch/arm64/kernel/smp.c, __cpu_up(); in v3 arch_cpuhp_cleanup_kick_cpu()
    """
    slot_pa = guest.slot_pa(cpu)
    yield Store(slot_pa + boot.CPU_BOOT_TASK, 0, plain=True)
    status = yield Load(slot_pa + boot.CPU_BOOT_STATUS)
    if status == _CPU_MMU_OFF:
        status = yield from read_early_status(guest, cpu)
    low = status & boot.CPU_BOOT_STATUS_MASK
    if low == boot.CPU_PANIC_KERNEL:
        line = f"Kernel panic - not syncing: CPU{cpu} detected unsupported configuration"
        yield Log(line, Reported(Report.CPU_PANIC, cpu))
        yield Park(Outcome(End.PANIC))
    if low == boot.CPU_KILL_ME:
        if not (yield from method.cpu_kill(cpu)):
            yield Log(f"CPU{cpu}: died during early boot", Reported(Report.DIED, cpu))
            return
        yield Log(f"CPU{cpu}: may not have shut down cleanly", Reported(Report.UNCLEAN, cpu))
    elif low != boot.CPU_STUCK_IN_KERNEL:
        yield Log(f"CPU{cpu}: failed in unknown state : 0x{status:x}", Reported(Report.FAILED, cpu))
        yield from _count_stuck(guest)
        return
    yield Log(f"CPU{cpu}: is stuck in kernel", Reported(Report.STUCK, cpu))
    if status & boot.CPU_STUCK_REASON_52_BIT_VA:
        yield Log(f"CPU{cpu}: does not support 52-bit VAs", Reported(Report.NO_52_BIT_VA, cpu))
    if status & boot.CPU_STUCK_REASON_NO_GRAN:
        granule = guest.page_size >> 10
        yield Log(f"CPU{cpu}: does not support {granule}K granule", Reported(Report.NO_GRANULE, cpu, granule))
    yield from _count_stuck(guest)


def _count_stuck(guest: Guest) -> Task:
    stuck = yield Load(guest.data.stuck, 4)
    yield Store(guest.data.stuck, stuck + 1, 4)
