"""The boot CPU and the C side of a secondary, as host tasks (Linux v6.12 kernel/smp.c and
arch/arm64/kernel/smp.c).

Every access to what the two sides share is an operation on guest memory, so that schedules and memory models
apply to it. The full cpuhp state machine is not here: a CPU is kicked, waited for, and online.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from emu.arch.boot import CPU_BOOT_STATUS, CPU_BOOT_SUCCESS, CPU_BOOT_TASK, CPU_MMU_OFF
from emu.host.enable_method import EnableMethod
from emu.host.guest import Guest
from emu.host.spin_table import clean
from emu.machine import HostTask, Machine
from emu.operation import DSB_ISHST, Barrier, Delay, Kind, Load, Log, Operation, Park, Store
from emu.pe import PE

WAIT_MS_MAX = 5000  # wait_for_completion_timeout(&cpu_running, msecs_to_jiffies(5000))
_MS = 1_000_000


class Smp:
    """Brings the secondaries of one guest up, one at a time or all at once."""

    def __init__(self, machine: Machine, guest: Guest, method: EnableMethod, *, parallel: bool) -> None:
        self._machine = machine
        self._guest = guest
        self._method = method
        self._parallel = parallel

    def boot_cpu(self, secondaries: Sequence[int]) -> HostTask:
        """The boot CPU from smp_init_cpus() to the end of smp_init()."""
        guest, machine = self._guest, self._machine
        yield Store(guest.online_pa, 1, 1)
        yield from self._fill_table()
        for cpu in secondaries:
            yield from self._method.cpu_init(cpu)
        yield Log("smp: Bringing up secondary CPUs ...")
        if self._parallel:
            kicked = []
            for cpu in secondaries:
                if not (yield from self._kick(cpu)):
                    kicked.append(cpu)
            for cpu in kicked:
                yield from self._wait(cpu)
        else:
            for cpu in secondaries:
                if not (yield from self._kick(cpu)):
                    yield from self._wait(cpu)
        online = 0
        for cpu in range(len(guest.hwids)):
            online += yield Load(guest.online_pa + cpu, 1)
        yield Log(f"smp: Brought up 1 node, {online} CPU{'s' if online != 1 else ''}")
        yield from self._hyp_mode_check()
        machine.trace.add(Kind.BOOT_MODE, 0, 8, 0, 0, machine.memory.read(self._boot_mode_pa(), 8))
        yield Park("online")
        return None

    def _fill_table(self) -> Generator[Operation, Any, None]:
        # smp_init_cpus(): the logical map, or the table that this design scans instead.
        guest, design = self._guest, self._guest.design
        if design.lookup_table is None:
            return
        table_pa = guest.pa_of(guest.subject.va(design.lookup_table))
        for cpu, hwid in enumerate(guest.hwids):
            if cpu == 0 and design.table_skips_boot_cpu:
                continue
            yield Store(table_pa + 8 * cpu, hwid)
            if design.table_clean_to_poc:
                yield from clean(table_pa + 8 * cpu)

    def _kick(self, cpu: int) -> Generator[Operation, Any, int]:
        # __cpu_up() up to boot_secondary(); gives 0 or a negative errno.
        slot_pa = self._guest.slot_pa(cpu)
        yield Store(slot_pa + CPU_BOOT_TASK, self._guest.idle[cpu].task)
        yield from _update_cpu_boot_status(slot_pa, CPU_MMU_OFF)
        result: int = yield from self._method.cpu_boot(cpu)
        if result and result != -1:  # -EPERM: firmware said no, which is no error of ours
            yield Log(f"CPU{cpu}: failed to boot: {result}")
        return result

    def _wait(self, cpu: int) -> Generator[Operation, Any, None]:
        # wait_for_completion_timeout(), as looks at the CPU's online byte.
        for _ in range(WAIT_MS_MAX):
            online = yield Load(self._guest.online_pa + cpu, 1)
            if online:
                break
            yield Delay(_MS)
        else:
            yield Log(f"CPU{cpu}: failed to come online")
        yield from self._method.cpu_booted(cpu)

    def _boot_mode_pa(self) -> int:
        return self._guest.pa_of(self._guest.subject.va("__boot_cpu_mode"))

    def _hyp_mode_check(self) -> Generator[Operation, Any, None]:
        modes = []
        for index in (0, 1):
            modes.append((yield Load(self._boot_mode_pa() + 4 * index, 4)))
        if modes[0] != modes[1]:
            yield Log("CPU: CPUs started in inconsistent modes")
        else:
            yield Log(f"CPU: All CPU(s) started at EL{modes[0] & 0xF}")

    def secondary_start_kernel(self, cpu: int) -> HostTask:
        """The C side of a secondary. Which CPU it is, it learns from its task alone, as the kernel does."""
        guest = self._guest
        pe: PE = self._machine.actors[cpu].pe
        me = yield Load(guest.pa_of(pe.sp_el0) + guest.tsk_ti_cpu, 4)
        midr = guest.midrs[cpu]
        yield Log(f"CPU{me}: Booted secondary processor 0x{guest.hwids[cpu]:010x} [0x{midr:08x}]")
        yield from _update_cpu_boot_status(guest.slot_pa(me), CPU_BOOT_SUCCESS)
        yield Store(guest.online_pa + me, 1, 1)
        yield Park("online" if me == cpu else f"runs as CPU{me}")
        return None


def _update_cpu_boot_status(slot_pa: int, status: int) -> Generator[Operation, Any, None]:
    yield Store(slot_pa + CPU_BOOT_STATUS, status)
    yield Barrier(DSB_ISHST)
