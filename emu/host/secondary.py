"""The C side of a secondary, as a host task that goes on where the PE landed.

In the order of the base that the design was made for (Linux v6.12, or the v3 series): which of the capability
check, the alive synchronisation and RCU's "CPU starting" comes first decides what the boot CPU gets to see.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from emu.arch.boot import CPU_BOOT_SUCCESS
from emu.host.cpuhp import Core, Cpuhp, SyncState
from emu.host.enable_method import METHOD_KINDS, EnableMethod
from emu.host.faults import Fault
from emu.host.guest import Guest
from emu.host.played import plays
from emu.host.telemetry import update_cpu_boot_status
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.milestone import Milestone, Reach
from emu.operation import (
    AtomicUpdate,
    DeferLog,
    Delay,
    Load,
    LoadUntil,
    Log,
    Operation,
    Park,
    Report,
    Reported,
    Store,
)
from emu.outcome import ONLINE, End, Outcome, ended

Task = Generator[Operation, Any, None]

# What is asked of a CPU's idle loop besides a state: to run a task that has migrated there, and to stop
# (IPI_CPU_STOP).
MIGRATE, STOP = 0x100, 0x101
ORDERS = {
    "6.12": ("rcu", "capabilities", "alive"),
    "v3": ("capabilities", "alive", "rcu"),
}


class Secondary:
    """What every secondary of one guest does once it is in C; ``syncs_alive`` is the strategy's."""

    def __init__(
        self,
        machine: Machine,
        guest: Guest,
        core: Core,
        method: EnableMethod,
        faults: Mapping[int, Sequence[Fault]],
        *,
        base: str,
        syncs_alive: bool,
    ) -> None:
        self._machine = machine
        self._guest = guest
        self._core = core
        self._method = method
        self._faults = faults
        self._base = base
        self._syncs_alive = syncs_alive
        self.migrated: Callable[[], Task] | None = None  # the task of MIGRATE

    @plays("secondary_start_kernel", "arch/arm64/kernel/smp.c")
    def start_kernel(self, cpu: int) -> HostTask:
        """secondary_start_kernel() on the PE of ``cpu``. Who it is, it learns from its task alone."""
        guest, data = self._guest, self._guest.data
        pe = self._machine.actors[cpu].pe
        number_pa = guest.pa_of(pe.stack_pointer(0)) + guest.tsk_ti_cpu
        if not self._machine.memory.contains(number_pa, 4):  # an abort that its handler takes again
            yield Park(ended("has no task"))
            return None
        me = yield Load(number_pa, 4)
        if me >= len(guest.hwids):
            yield Park(ended("has the task of no CPU"))
            return None
        costs = self._machine.costs[me]
        before = costs.before_alive
        if not METHOD_KINDS[guest.method_of(me)].calls_firmware:  # else it has waited in front of its entry
            before += costs.alive
        if before:
            yield Delay(before)
        for part in ORDERS[self._base]:
            if part == "rcu":
                yield Store(data.rcu(me), 1, 4)
            elif part == "alive":
                if self._syncs_alive:
                    yield from self._core.ap_sync_alive(me)
            else:
                for fault in self._faults.get(cpu, []):
                    yield from fault.check_capabilities(self, me)
        if costs.atomic:
            yield Delay(costs.atomic)
        yield from self._method.cpu_postboot(me)
        midr = guest.cpu(cpu).midr
        booted = f"CPU{me}: Booted secondary processor 0x{guest.hwids[cpu]:010x} [0x{midr:08x}]"
        yield Log(booted, Reported(Report.BOOTED, me))
        yield from update_cpu_boot_status(guest.slot_pa(me), CPU_BOOT_SUCCESS)
        yield Store(data.online(me), 1, 1)
        yield Reach(Milestone.ONLINE, me)
        if not self._syncs_alive:  # complete(&cpu_running), under the lock of its wait queue
            running = yield Load(data.cpu_running, 4)
            while (old := (yield AtomicUpdate(data.cpu_running, running, running + 1, 4))) != running:
                running = old
        yield from self._idle(cpu, me)
        return None

    @plays("cpu_startup_entry", "kernel/sched/idle.c")
    def _idle(self, cpu: int, me: int) -> Task:
        # cpu_startup_entry(CPUHP_AP_ONLINE_IDLE).
        yield from self._online_idle(me)
        self._machine.actors[cpu].outcome = ONLINE if me == cpu else Outcome(End.RUNS_AS, number=me)
        yield from self.hotplug_thread(cpu, me)

    @plays("cpuhp_online_idle", "kernel/cpu.c")
    def _online_idle(self, me: int) -> Task:
        core, data = self._core, self._guest.data
        yield from core.update_sync_state(me, SyncState.SYNC_STATE_ONLINE)
        yield Store(data.rcu(me), 0, 4)
        yield Store(data.done(me), 1, 4)

    @plays("do_idle", "kernel/sched/idle.c")
    def hotplug_thread(self, cpu: int, me: int) -> Task:
        """The idle loop on the PE of ``cpu``, which is CPU ``me``, and the hotplug thread beside it.

        Does not return.
        """
        core, data, actor = self._core, self._guest.data, self._machine.actors[cpu]
        state = Cpuhp.CPUHP_AP_ONLINE_IDLE
        while True:
            request = yield LoadUntil(data.request(me), 4, sleeps=True)
            yield Reach(Milestone.THREAD, me)
            yield Store(data.request(me), 0, 4)
            if request == MIGRATE:
                assert self.migrated is not None
                yield from self.migrated()
            if request == STOP:
                yield Store(data.online(me), 0, 1)
                yield Park(Outcome(End.STOPPED))
            target = Cpuhp(request - 1)
            result = yield from core.run_thread(me, state, max(target, Cpuhp.CPUHP_AP_ONLINE_IDLE))
            if not result:
                state = max(target, Cpuhp.CPUHP_AP_ONLINE_IDLE)
            if not result and target < Cpuhp.CPUHP_AP_ONLINE_IDLE:
                yield from core.run_thread(me, Cpuhp.CPUHP_AP_ONLINE, Cpuhp.CPUHP_AP_OFFLINE)
                yield Store(data.online(me), 0, 1)
                yield Store(data.done(me), 1, 4)
                actor.outcome = None
                yield from core.update_sync_state(me, SyncState.SYNC_STATE_DEAD)
                yield from self.cpu_die(me)
            yield Reach(Milestone.THREAD_END, me)
            yield Store(data.done(me), 1 - result, 4)

    @plays("cpu_die", "arch/arm64/kernel/smp.c")
    def cpu_die(self, me: int) -> Task:
        """cpu_ops->cpu_die(): CPU_OFF, which does not return; a CPU without it parks."""
        yield from self._method.cpu_die(me)
        yield Park(Outcome(End.CPU_DIE))

    def say(self, me: int, line: str) -> Task:
        """printk() of a CPU that is not online: it has no console yet."""
        yield DeferLog(me, line)

    def set_status(self, me: int, status: int) -> Task:
        """update_cpu_boot_status() of the slot that this CPU has."""
        yield from update_cpu_boot_status(self._guest.slot_pa(me), status)

    @plays("set_cpu_present", "kernel/cpu.c")
    def set_present(self, me: int, present: bool) -> Task:
        """set_cpu_present()."""
        yield Store(self._guest.data.present(me), int(present), 1)

    @property
    def hotplug_cpu(self) -> bool:
        """Whether the kernel has CONFIG_HOTPLUG_CPU."""
        return self._guest.built.hotplug_cpu

    @property
    def clears_present_early(self) -> bool:
        """Whether cpu_die_early() takes the CPU out of cpu_present_mask, as Linux v6.12 does."""
        return self._base == "6.12"
