"""The cpuhp core: states, callbacks, the AP's synchronisation state (Linux v6.12 kernel/cpu.c, cpuhotplug.h).

The boot CPU walks a CPU through the states up to ``CPUHP_BRINGUP_CPU``; from there on the CPU's own hotplug
thread does. A callback is a generator that yields operations and gives 0 or a negative errno. What happens at
``cpu:kick_ap`` and ``cpu:bringup`` is the strategy's (:mod:`emu.host.bringup`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from emu.host.data import HostData
from emu.host.played import plays
from emu.latency.profile import CpuCosts
from emu.milestone import Milestone, Reach
from emu.operation import (
    AtomicUpdate,
    Delay,
    Load,
    LoadUntil,
    Log,
    Operation,
    Poll,
    Report,
    Reported,
    Store,
)

Callback = Callable[[int], Generator[Operation, Any, int]]

EIO, EAGAIN, EINVAL = -5, -11, -22
SYNC_TIMEOUT_NS = 10_000_000_000
PATIENCE_NS = (
    1_000_000_000  # a kernel waits longer than that for a CPU that it has kicked (kernel/cpu.c, smp.c)
)
# Busy looks for 1 ms, then usleep_range(1000, 2000) between them.
_BUSY_NS = 1_000_000
_PAUSES = ((0, 10_000), (_BUSY_NS, 1_500_000))


class Cpuhp(IntEnum):
    """enum cpuhp_state: the kernel's names in the kernel's order; the numbers are ours."""

    CPUHP_OFFLINE = 0
    CPUHP_CREATE_THREADS = 1
    CPUHP_PERF_PREPARE = 2
    CPUHP_RANDOM_PREPARE = 3
    CPUHP_WORKQUEUE_PREP = 4
    CPUHP_HRTIMERS_PREPARE = 5
    CPUHP_SMPCFD_PREPARE = 6
    CPUHP_RELAY_PREPARE = 7
    CPUHP_RCUTREE_PREP = 8
    CPUHP_TIMERS_PREPARE = 9
    CPUHP_BP_PREPARE_DYN = 10
    CPUHP_BP_KICK_AP = 11
    CPUHP_BRINGUP_CPU = 12
    CPUHP_AP_IDLE_DEAD = 13
    CPUHP_AP_OFFLINE = 14
    CPUHP_AP_SCHED_STARTING = 15
    CPUHP_AP_RCUTREE_DYING = 16
    CPUHP_AP_SMPCFD_DYING = 17
    CPUHP_AP_HRTIMERS_DYING = 18
    CPUHP_AP_TICK_DYING = 19
    CPUHP_AP_ONLINE = 20
    CPUHP_TEARDOWN_CPU = 21
    CPUHP_AP_ONLINE_IDLE = 22
    CPUHP_AP_SCHED_WAIT_EMPTY = 23
    CPUHP_AP_SMPBOOT_THREADS = 24
    CPUHP_AP_IRQ_AFFINITY_ONLINE = 25
    CPUHP_AP_PERF_ONLINE = 26
    CPUHP_AP_WORKQUEUE_ONLINE = 27
    CPUHP_AP_RANDOM_ONLINE = 28
    CPUHP_AP_RCUTREE_ONLINE = 29
    CPUHP_AP_ONLINE_DYN = 30
    CPUHP_AP_ACTIVE = 31
    CPUHP_ONLINE = 32


NAMES = {
    Cpuhp.CPUHP_OFFLINE: "offline",
    Cpuhp.CPUHP_CREATE_THREADS: "threads:prepare",
    Cpuhp.CPUHP_PERF_PREPARE: "perf:prepare",
    Cpuhp.CPUHP_RANDOM_PREPARE: "random:prepare",
    Cpuhp.CPUHP_WORKQUEUE_PREP: "workqueue:prepare",
    Cpuhp.CPUHP_HRTIMERS_PREPARE: "hrtimers:prepare",
    Cpuhp.CPUHP_SMPCFD_PREPARE: "smpcfd:prepare",
    Cpuhp.CPUHP_RELAY_PREPARE: "relay:prepare",
    Cpuhp.CPUHP_RCUTREE_PREP: "RCU/tree:prepare",
    Cpuhp.CPUHP_TIMERS_PREPARE: "timers:prepare",
    Cpuhp.CPUHP_BP_PREPARE_DYN: "bp:prepare:dyn",
    Cpuhp.CPUHP_BP_KICK_AP: "cpu:kick_ap",
    Cpuhp.CPUHP_BRINGUP_CPU: "cpu:bringup",
    Cpuhp.CPUHP_AP_IDLE_DEAD: "idle:dead",
    Cpuhp.CPUHP_AP_OFFLINE: "ap:offline",
    Cpuhp.CPUHP_AP_SCHED_STARTING: "sched:starting",
    Cpuhp.CPUHP_AP_RCUTREE_DYING: "RCU/tree:dying",
    Cpuhp.CPUHP_AP_SMPCFD_DYING: "smpcfd:dying",
    Cpuhp.CPUHP_AP_HRTIMERS_DYING: "hrtimers:dying",
    Cpuhp.CPUHP_AP_TICK_DYING: "tick:dying",
    Cpuhp.CPUHP_AP_ONLINE: "ap:online",
    Cpuhp.CPUHP_TEARDOWN_CPU: "cpu:teardown",
    Cpuhp.CPUHP_AP_ONLINE_IDLE: "ap:online:idle",
    Cpuhp.CPUHP_AP_SCHED_WAIT_EMPTY: "sched:waitempty",
    Cpuhp.CPUHP_AP_SMPBOOT_THREADS: "smpboot/threads:online",
    Cpuhp.CPUHP_AP_IRQ_AFFINITY_ONLINE: "irq/affinity:online",
    Cpuhp.CPUHP_AP_PERF_ONLINE: "perf:online",
    Cpuhp.CPUHP_AP_WORKQUEUE_ONLINE: "workqueue:online",
    Cpuhp.CPUHP_AP_RANDOM_ONLINE: "random:online",
    Cpuhp.CPUHP_AP_RCUTREE_ONLINE: "RCU/tree:online",
    Cpuhp.CPUHP_AP_ONLINE_DYN: "ap:online:dyn",
    Cpuhp.CPUHP_AP_ACTIVE: "sched:active",
    Cpuhp.CPUHP_ONLINE: "online",
}


_ORDER = tuple(Cpuhp)


class SyncState(IntEnum):
    """enum cpuhp_sync_state."""

    SYNC_STATE_DEAD = 0
    SYNC_STATE_KICKED = 1
    SYNC_STATE_SHOULD_DIE = 2
    SYNC_STATE_ALIVE = 3
    SYNC_STATE_SHOULD_ONLINE = 4
    SYNC_STATE_ONLINE = 5


@dataclass(slots=True)
class CpuhpStep:
    """The callbacks of one state; None is an empty one."""

    startup: Callback | None = None
    teardown: Callback | None = None


@dataclass(slots=True)
class Core:
    """The cpuhp core of one kernel: per CPU its state, per state its callbacks."""

    data: HostData
    cpus: int
    steps: dict[Cpuhp, CpuhpStep] = field(default_factory=lambda: {state: CpuhpStep() for state in Cpuhp})
    state: list[Cpuhp] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = [Cpuhp.CPUHP_ONLINE] + [Cpuhp.CPUHP_OFFLINE] * (self.cpus - 1)

    # -- states -----------------------------------------------------------------------------------

    @plays("cpu_up _cpu_up", "kernel/cpu.c")
    def cpu_up(self, cpu: int, target: Cpuhp = Cpuhp.CPUHP_ONLINE) -> Generator[Operation, Any, int]:
        """_cpu_up(): bring ``cpu`` to ``target``; on failure it is back. Gives 0 or a negative errno."""
        present = yield Load(self.data.present(cpu), 1)
        if not present:
            return EINVAL
        if self.state[cpu] >= target:
            return 0
        before = self.state[cpu]
        result: int = 0
        last = min(target, Cpuhp.CPUHP_BRINGUP_CPU)
        result = yield from self._up_callbacks(cpu, before, last)
        if result:
            yield from self.roll_back(cpu, before)
            return result
        self.state[cpu] = max(before, last)
        if target > Cpuhp.CPUHP_BRINGUP_CPU:
            result = yield from self.ask_thread(cpu, target)
            self.state[cpu] = Cpuhp.CPUHP_AP_ONLINE_IDLE if result else target
        return result

    @plays("cpuhp_up_callbacks cpuhp_invoke_callback_range __cpuhp_invoke_callback_range", "kernel/cpu.c")
    def _up_callbacks(self, cpu: int, before: Cpuhp, last: Cpuhp) -> Generator[Operation, Any, int]:
        for state in _ORDER[before + 1 : last + 1]:
            startup = self.steps[state].startup
            if startup:
                self.state[cpu] = state
                result = yield from _invoke_callback(startup, cpu)
                if result:
                    self.state[cpu] = _ORDER[state - 1]
                    return result
        return 0

    def roll_back(self, cpu: int, target: Cpuhp) -> Generator[Operation, Any, None]:
        """Undo the boot CPU's states down to ``target``."""
        while self.state[cpu] > target:
            teardown = self.steps[self.state[cpu]].teardown
            if teardown:
                yield from teardown(cpu)
            self.state[cpu] = _ORDER[self.state[cpu] - 1]

    @plays("cpu_down _cpu_down", "kernel/cpu.c")
    def cpu_down(self, cpu: int, target: Cpuhp = Cpuhp.CPUHP_OFFLINE) -> Generator[Operation, Any, int]:
        """_cpu_down(): take ``cpu`` to ``target``, a state of the boot CPU. Gives 0 or a negative errno."""
        present = yield Load(self.data.present(cpu), 1)
        if not present:
            return EINVAL
        if self.state[cpu] > Cpuhp.CPUHP_BRINGUP_CPU:
            result: int = yield from self.ask_thread(cpu, Cpuhp.CPUHP_AP_OFFLINE)
            if result:
                return result
            self.state[cpu] = Cpuhp.CPUHP_BRINGUP_CPU
            takedown = self.steps[Cpuhp.CPUHP_TEARDOWN_CPU].teardown
            if takedown:
                yield from takedown(cpu)
        yield from self.roll_back(cpu, target)
        return 0

    @plays("cpuhp_kick_ap", "kernel/cpu.c")
    def ask_thread(self, cpu: int, target: Cpuhp) -> Generator[Operation, Any, int]:
        """cpuhp_kick_ap(): kick the CPU's hotplug thread towards ``target`` and wait for it."""
        yield Store(self.data.done(cpu), 0, 4)
        yield Store(self.data.request(cpu), target + 1, 4)
        done = yield LoadUntil(self.data.done(cpu), 4, sleeps=True)
        return 1 - int(done)

    # -- the AP's side ----------------------------------------------------------------------------

    @plays("cpuhp_thread_fun", "kernel/cpu.c")
    def run_thread(self, cpu: int, current: Cpuhp, target: Cpuhp) -> Generator[Operation, Any, int]:
        """cpuhp_thread_fun(): what the hotplug thread of ``cpu`` does: from ``current`` to ``target``."""
        state = current
        while state < target:
            state = _ORDER[state + 1]
            startup = self.steps[state].startup
            if startup and state is not Cpuhp.CPUHP_TEARDOWN_CPU:
                result = yield from startup(cpu)
                if result:
                    yield from self.run_thread(cpu, Cpuhp(state - 1), current)
                    return result
        while state > target:
            teardown = self.steps[state].teardown
            if teardown and state is not Cpuhp.CPUHP_TEARDOWN_CPU:
                result = yield from teardown(cpu)
                if result:
                    return result
            state = _ORDER[state - 1]
        return 0

    # -- synchronisation --------------------------------------------------------------------------

    @plays("cpuhp_ap_update_sync_state", "kernel/cpu.c")
    def update_sync_state(self, cpu: int, state: SyncState) -> Generator[Operation, Any, None]:
        """cpuhp_ap_update_sync_state(): an exchange, on the AP."""
        yield AtomicUpdate(self.data.sync_state(cpu), None, state, 4)

    @plays("cpuhp_ap_sync_alive", "kernel/cpu.c")
    def ap_sync_alive(self, cpu: int) -> Generator[Operation, Any, None]:
        """cpuhp_ap_sync_alive(): say that the AP is alive, then spin until it may go on."""
        yield from self.update_sync_state(cpu, SyncState.SYNC_STATE_ALIVE)
        yield Reach(Milestone.ALIVE, cpu)
        yield LoadUntil(self.data.sync_state(cpu), 4, SyncState.SYNC_STATE_SHOULD_ONLINE)
        yield Reach(Milestone.RELEASED, cpu)

    @plays("cpuhp_can_boot_ap", "kernel/cpu.c")
    def can_boot_ap(self, cpu: int) -> Generator[Operation, Any, bool]:
        """cpuhp_can_boot_ap(): False for a CPU in limbo; else its state is KICKED now."""
        sync = yield Load(self.data.sync_state(cpu), 4)
        while True:
            if sync not in (
                SyncState.SYNC_STATE_DEAD,
                SyncState.SYNC_STATE_KICKED,
                SyncState.SYNC_STATE_ALIVE,
            ):
                return False
            old = yield AtomicUpdate(self.data.sync_state(cpu), sync, SyncState.SYNC_STATE_KICKED, 4)
            if old == sync:
                return True
            sync = old

    @plays("cpuhp_wait_for_sync_state", "kernel/cpu.c")
    def wait_for_sync_state(
        self, cpu: int, state: SyncState, then: SyncState
    ) -> Generator[Operation, Any, bool]:
        """cpuhp_wait_for_sync_state(): 1 ms of busy looks, then 1..2 ms of sleep a look, for 10 s."""
        look = Poll(self.data.sync_state(cpu), 4, state, SYNC_TIMEOUT_NS, _PAUSES, _BUSY_NS)
        sync = yield look
        while sync == state:
            old = yield AtomicUpdate(self.data.sync_state(cpu), state, then, 4)
            if old == state:
                return True
            sync = yield look
        return False

    @plays("cpuhp_bp_sync_dead", "kernel/cpu.c")
    def bp_sync_dead(self, cpu: int) -> Generator[Operation, Any, bool]:
        """cpuhp_bp_sync_dead(): True when the AP has reported DEAD."""
        sync = yield Load(self.data.sync_state(cpu), 4)
        while sync != SyncState.SYNC_STATE_DEAD:
            old = yield AtomicUpdate(self.data.sync_state(cpu), sync, SyncState.SYNC_STATE_SHOULD_DIE, 4)
            if old == sync:
                break
            sync = old
        dead = yield from self.wait_for_sync_state(cpu, SyncState.SYNC_STATE_DEAD, SyncState.SYNC_STATE_DEAD)
        if not dead:
            yield Log(f"CPU{cpu} failed to report dead state", Reported(Report.FAILED, cpu))
        return bool(dead)


@plays("cpuhp_invoke_callback", "kernel/cpu.c")
def _invoke_callback(callback: Callback, cpu: int) -> Generator[Operation, Any, int]:
    return (yield from callback(cpu))


def add_costs(core: Core, costs: Mapping[int, CpuCosts]) -> None:
    """Let the callbacks of each CPU's bring-up take what the latency profile says."""
    if any(cost.prepare for cost in costs.values()):
        core.steps[Cpuhp.CPUHP_CREATE_THREADS].startup = lambda cpu: _spend(costs[cpu].prepare)
    if any(cost.online for cost in costs.values()):
        core.steps[Cpuhp.CPUHP_AP_ONLINE_DYN].startup = lambda cpu: _spend(costs[cpu].online)


def _spend(ns: int) -> Generator[Operation, Any, int]:
    """cpuhp_invoke_callback(): that takes so long."""
    if ns:
        yield Delay(ns)
    return 0
