"""Split: kick at ``cpu:kick_ap``, alive synchronisation at ``cpu:bringup``; one CPU after the other.

HOTPLUG_SPLIT_STARTUP, which is also what ``cpuhp.parallel=0`` gives (kernel/cpu.c, cpuhp_kick_ap_alive and
cpuhp_bringup_ap).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from emu.host.bringup.common import bring_up_each, takedown, wait_for_ap_online
from emu.host.cpuhp import EAGAIN, EIO, Cpuhp, SyncState
from emu.host.kick import Kick
from emu.host.played import plays
from emu.milestone import Milestone, Reach
from emu.operation import FlushDeferred, Log, Operation, Report, Reported

NAME = "split"


class Split:
    """The two halves of a bring-up as two states."""

    syncs_alive = True

    def __init__(self, kick: Kick) -> None:
        self._kick = kick
        steps = kick.core.steps
        steps[Cpuhp.CPUHP_BP_KICK_AP].startup = self._kick_ap
        steps[Cpuhp.CPUHP_BRINGUP_CPU].startup = self._bringup_ap
        steps[Cpuhp.CPUHP_TEARDOWN_CPU].teardown = lambda cpu: takedown(kick, cpu)

    @plays("bringup_nonboot_cpus", "kernel/cpu.c")
    def bring_up(self, cpus: Sequence[int], count: int) -> Generator[Operation, Any, None]:
        """One CPU at a time to CPUHP_ONLINE."""
        yield from bring_up_each(self._kick.core, cpus, count, Cpuhp.CPUHP_ONLINE)

    @plays("cpuhp_kick_ap_alive", "kernel/cpu.c")
    def _kick_ap(self, cpu: int) -> Generator[Operation, Any, int]:
        if not (yield from self._kick.core.can_boot_ap(cpu)):
            return EAGAIN
        result: int = yield from self._kick.kick_ap_alive(cpu)
        yield Reach(Milestone.KICKED, cpu)
        return result

    @plays("cpuhp_bringup_ap", "kernel/cpu.c")
    def _bringup_ap(self, cpu: int) -> Generator[Operation, Any, int]:
        if not (yield from self._bp_sync_alive(cpu)):
            return EIO
        return (yield from wait_for_ap_online(self._kick, cpu))

    @plays("cpuhp_bp_sync_alive", "kernel/cpu.c")
    def _bp_sync_alive(self, cpu: int) -> Generator[Operation, Any, bool]:
        yield Reach(Milestone.WAIT, cpu)
        alive = yield from self._kick.core.wait_for_sync_state(
            cpu, SyncState.SYNC_STATE_ALIVE, SyncState.SYNC_STATE_SHOULD_ONLINE
        )
        yield Reach(Milestone.SEEN, cpu)
        if not alive:
            yield FlushDeferred(cpu)
            yield Log(f"CPU{cpu} failed to report alive state", Reported(Report.NOT_ALIVE, cpu))
        yield from self._kick.cleanup_kick_cpu(cpu, bool(alive))
        return bool(alive)


STRATEGY = Split
