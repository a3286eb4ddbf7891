"""Serial: one ``__cpu_up()`` after the other, each waits for the completion ``cpu_running`` (Linux v6.12)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from emu.host.bringup.common import bring_up_each, takedown, wait_for_ap_online
from emu.host.cpuhp import EIO, Cpuhp
from emu.host.kick import Kick
from emu.host.played import plays
from emu.milestone import Milestone, Reach
from emu.operation import (
    FlushDeferred,
    Load,
    Log,
    Operation,
    Poll,
    Report,
    Reported,
    Store,
)

NAME = "serial"
_PAUSES = ((0, 1_000_000),)  # how often it looks besides: complete() ends the wait
_WAIT_NS = (
    4_999_000_000  # wait_for_completion_timeout(&cpu_running, msecs_to_jiffies(5000)): the pause after it
)


class Serial:
    """CPUHP_BRINGUP_CPU does everything: kick, wait for the completion, telemetry, online."""

    syncs_alive = False

    def __init__(self, kick: Kick) -> None:
        self._kick = kick
        steps = kick.core.steps
        steps[Cpuhp.CPUHP_BRINGUP_CPU].startup = self._bringup_cpu
        steps[Cpuhp.CPUHP_TEARDOWN_CPU].teardown = lambda cpu: takedown(kick, cpu)

    @plays("bringup_nonboot_cpus", "kernel/cpu.c")
    def bring_up(self, cpus: Sequence[int], count: int) -> Generator[Operation, Any, None]:
        """One CPU at a time to CPUHP_ONLINE."""
        yield from bring_up_each(self._kick.core, cpus, count, Cpuhp.CPUHP_ONLINE)

    @plays("bringup_cpu", "kernel/cpu.c")
    def _bringup_cpu(self, cpu: int) -> Generator[Operation, Any, int]:
        error = yield from self._cpu_up(cpu)
        if error:
            return error
        return (yield from wait_for_ap_online(self._kick, cpu))

    @plays("__cpu_up", "arch/arm64/kernel/smp.c")
    def _cpu_up(self, cpu: int) -> Generator[Operation, Any, int]:
        data = self._kick.guest.data
        result: int = yield from self._kick.kick(cpu)
        yield Reach(Milestone.KICKED, cpu)
        if result:
            return result
        yield Reach(Milestone.WAIT, cpu)
        running = yield Poll(data.cpu_running, 4, None, _WAIT_NS, _PAUSES, _WAIT_NS, sleeps=True)
        yield Reach(Milestone.SEEN, cpu)
        if running:
            yield Store(data.cpu_running, running - 1, 4)
        online = yield Load(data.online(cpu), 1)
        if not online:
            yield FlushDeferred(cpu)
            yield Log(f"CPU{cpu}: failed to come online", Reported(Report.NOT_ONLINE, cpu))
        yield from self._kick.cleanup(cpu, bool(online))
        return 0 if online else EIO


STRATEGY = Serial
