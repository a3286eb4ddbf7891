"""What the strategies share: a pass over the present mask, the wait for the AP, taking a CPU down."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from emu.host.cpuhp import Core, Cpuhp
from emu.host.kick import Kick
from emu.host.played import plays
from emu.milestone import Milestone, Reach
from emu.operation import Load, LoadUntil, Log, Operation, Report, Reported, Store


@plays("cpuhp_bringup_mask", "kernel/cpu.c")
def bring_up_each(
    core: Core, cpus: Sequence[int], count: int, target: Cpuhp
) -> Generator[Operation, Any, None]:
    """cpuhp_bringup_mask(): at most ``count`` present CPUs to ``target``; what fails goes back to offline."""
    for cpu in cpus:
        if count <= 0:
            return
        yield Reach(Milestone.BEGIN, cpu)
        present = yield Load(core.data.present(cpu), 1)
        if present:
            if (yield from core.cpu_up(cpu, target)):
                yield from core.roll_back(cpu, Cpuhp.CPUHP_OFFLINE)
            count -= 1
        yield Reach(Milestone.END, cpu)


@plays("bringup_wait_for_ap_online", "kernel/cpu.c")
def wait_for_ap_online(kick: Kick, cpu: int) -> Generator[Operation, Any, int]:
    """bringup_wait_for_ap_online(): the AP says that it is in CPUHP_AP_ONLINE_IDLE. No time-out."""
    yield LoadUntil(kick.guest.data.done(cpu), 4, sleeps=True)
    yield Store(kick.guest.data.done(cpu), 0, 4)
    return 0


@plays("takedown_cpu", "kernel/cpu.c")
def takedown(kick: Kick, cpu: int) -> Generator[Operation, Any, int]:
    """takedown_cpu(), its end: wait for DEAD, then ask the enable-method whether the CPU is gone."""
    if (yield from kick.core.bp_sync_dead(cpu)):
        error = yield from kick.method.cpu_kill(cpu)
        if error:
            yield Log(f"CPU{cpu} may not have shut down cleanly: {error}", Reported(Report.UNCLEAN, cpu))
    return 0
