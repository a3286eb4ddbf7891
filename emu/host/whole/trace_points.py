"""How far the bring-up of each CPU is, of a kernel that boots by itself: its functions as trace points.

The milestones are those of the Python host that plays kernel/cpu.c. A function that the compiler has put into
its caller is none: then what comes before lasts on.

:source: Linux v6.12 kernel/cpu.c, kernel/smp.c, arch/arm64/kernel/smp.c
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from emu.cpu.pe import PE
from emu.host.whole.boot import WholeBoot
from emu.machine.actor import State
from emu.milestone import Milestone

TURNS_TO = "cpuhp_invoke_callback"  # x0: the CPU
_ENDS = "smp_cpus_done"
_SECONDARY = "secondary_start_kernel"
# On the boot CPU, behind the kick: what it waits for from there on.
_WAITS = {
    "cpuhp_bringup_ap": Milestone.WAIT,
    "wait_for_completion_timeout": Milestone.WAIT,
    "wait_for_completion": Milestone.SEEN,
}
# On a secondary, in their order; the first on the boot CPU alone.
_REACHES = {
    "__primary_switched": Milestone.MAPPED,
    "__secondary_switched": Milestone.MAPPED,
    "cpuhp_ap_sync_alive": Milestone.ALIVE,
    "check_local_cpu_capabilities": Milestone.RELEASED,
    "notify_cpu_starting": Milestone.RELEASED,
    "set_cpu_online": Milestone.ONLINE,
    "cpuhp_thread_fun": Milestone.THREAD,
    "complete": Milestone.THREAD_END,
}
_IDLE = "cpuhp_online_idle"  # which completes done_up of the CPU, as its hotplug thread does when it is done


class TracePoints:
    """Puts milestones into the trace of ``boot``, which is to run yet.

    :ivar instructions: that secondaries have retired up to secondary_start_kernel(), in all
    """

    def __init__(self, boot: WholeBoot) -> None:
        self._machine = boot.machine
        self.instructions = 0
        self._about = 0  # the CPU that the boot CPU is about, 0: none
        self._stage = Milestone.END  # the last milestone of that
        self._kicked: set[int] = set()
        self._reached: dict[int, Milestone] = {}  # the last one of each secondary
        self._landed: set[int] = set()
        self._done_up: dict[int, int] = {}  # by CPU: VA of its completion, -1: that of the next complete()
        self._note(boot, TURNS_TO, self._turn)
        self._note(boot, _ENDS, self._end)
        self._note(boot, _SECONDARY, self._land)
        self._note(boot, _IDLE, self._idle)
        for name, milestone in _WAITS.items():
            self._note(boot, name, partial(self._wait, milestone))
        for name, milestone in _REACHES.items():
            self._note(boot, name, partial(self._reach, milestone))

    def _note(self, boot: WholeBoot, name: str, seen: Callable[[PE], None]) -> None:
        va = boot.image.subject.symbols.address(name)
        if va is not None:
            self._machine.engine.free.note_at(va, seen)

    def finish(self) -> None:
        """The run is over, maybe at smp_cpus_done(), where it stops before anybody is told."""
        if self._about:
            self._look_for_kick()
            self._put(0, Milestone.END, self._about)
            self._about = 0

    # -- the boot CPU -----------------------------------------------------------------------------

    def _turn(self, pe: PE) -> None:
        cpu = int(pe.x[0]) & 0xFFFF_FFFF
        if not pe.index and 0 < cpu < len(self._machine.actors) and cpu != self._about:
            self.finish()
            self._about = cpu
            self._put(0, Milestone.BEGIN, cpu)

    def _end(self, pe: PE) -> None:
        if not pe.index:
            self.finish()

    def _wait(self, milestone: Milestone, pe: PE) -> None:
        if pe.index or not self._about:
            return
        self._look_for_kick()
        if self._about in self._kicked and self._stage < milestone:
            self._put(0, milestone, self._about)

    def _look_for_kick(self) -> None:
        # Firmware has been asked to start it since the boot CPU has turned to it.
        cpu, machine = self._about, self._machine
        if cpu in self._kicked:
            return
        is_pending = any(timer.cpu == cpu and timer.action for timer in machine.clock.timers)
        if is_pending or machine.actors[cpu].state is not State.OFF:
            self._kicked.add(cpu)
            self._put(0, Milestone.KICKED, cpu)

    # -- secondaries ------------------------------------------------------------------------------

    def _reach(self, milestone: Milestone, pe: PE) -> None:
        cpu = pe.index
        last = self._reached.get(cpu, Milestone.BEGIN)
        if last is milestone or (not cpu and milestone is not Milestone.MAPPED):
            return
        if milestone is Milestone.RELEASED and last is not Milestone.ALIVE:
            return
        if milestone is Milestone.THREAD_END and not self._is_done(cpu, int(pe.x[0])):
            return
        if milestone is Milestone.ONLINE and (int(pe.x[0]) & 0xFFFF_FFFF, int(pe.x[1]) & 1) != (cpu, 1):
            return
        self._reached[cpu] = milestone
        self._put(cpu, milestone, cpu)

    def _is_done(self, cpu: int, completion: int) -> bool:
        # Whether complete() of this is that of a hotplug thread that has done what it was asked for.
        if self._done_up.get(cpu, 0) < 0:
            self._done_up[cpu] = completion  # it is idle for the first time
            return False
        return completion == self._done_up.get(cpu) and self._reached.get(cpu) is Milestone.THREAD

    def _idle(self, pe: PE) -> None:
        self._done_up.setdefault(pe.index, -1)

    def _land(self, pe: PE) -> None:
        if pe.index and pe.index not in self._landed:
            self._landed.add(pe.index)
            self.instructions += pe.counters.instructions + self._machine.engine.begun

    def _put(self, actor: int, milestone: Milestone, about: int) -> None:
        if not actor:
            self._stage = milestone
        self._machine.recorder.milestone(actor, milestone, about)
