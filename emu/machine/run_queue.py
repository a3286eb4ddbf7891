"""Which actors can run, which sleep, and which host tasks spin on a word."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

from emu.machine.actor import Actor, State
from emu.machine.clock import Clock
from emu.machine.interconnect import MachineInterconnect
from emu.semantics import events


class RunQueue:
    """The states of actors, which change here alone.

    :ivar actors: by logical CPU number
    :ivar runnable: the CPUs that can do something, ascending
    :ivar spinning: by PA, the CPUs whose LoadUntil reads the word there
    """

    def __init__(self, interconnect: MachineInterconnect, clock: Clock) -> None:
        self._clock = clock
        self.actors: list[Actor] = []
        self.runnable: list[int] = []
        self._interconnect = interconnect
        self.spinning: dict[int, list[int]] = {}

    def set(self, cpu: int, state: State) -> None:
        """Let ``cpu`` be in ``state``; the system state has its power and its sleep as bits."""
        actor = self.actors[cpu]
        old = actor.state
        if old is state:
            return
        if old is State.RUNNABLE:
            del self.runnable[bisect_left(self.runnable, cpu)]
        if state is State.RUNNABLE:
            insort(self.runnable, cpu)
        actor.state = state
        if old.is_shared or state.is_shared:
            self._interconnect.set_power_and_sleep(
                cpu, on=state is not State.OFF, asleep=state is State.WAITING, idle=state is State.IDLE
            )

    def wake_all(self, cpus: list[int]) -> None:
        """Let ``cpus``, ascending, whose sleep the system state no longer has, be runnable."""
        for cpu in cpus:
            self.actors[cpu].state = State.RUNNABLE
        self.runnable.extend(cpus)
        self.runnable.sort()

    def wake_crowd(self, cpus: Sequence[int]) -> None:
        """Let ``cpus``, which keep their state for another, be among the runnable."""
        self.runnable.extend(cpus)
        self.runnable.sort()

    def wait_again(self, cpu: int) -> None:
        """Let ``cpu``, which can run, wait for an event: it has none."""
        self.actors[cpu].state = State.WAITING
        self.sleep_again((cpu,), 1 << cpu)

    def sleep_again(self, cpus: Sequence[int], bits: int) -> None:
        """Let ``cpus``, neighbours among the runnable, and as a set ``bits``, be so no more, and sleep."""
        first = bisect_left(self.runnable, cpus[0])
        del self.runnable[first : first + len(cpus)]
        self._interconnect.system = events.fall_asleep(self._interconnect.system, bits)

    def spin(self, cpu: int, pa: int) -> None:
        """Let the host task of ``cpu`` spin until the word at ``pa`` is stored to."""
        self.spinning.setdefault(pa, []).append(cpu)
        self.set(cpu, State.SPINNING)

    def watch(self, cpu: int, pa: int) -> None:
        """Let a pause of the host task of ``cpu`` end when the word at ``pa`` is stored to."""
        cpus = self.spinning.setdefault(pa, [])
        if cpu not in cpus:
            cpus.append(cpu)

    def stored(self, pa: int, time: int) -> None:
        """Let those spin no longer that look at the word at ``pa``: it was stored to at ``time`` (ns)."""
        for cpu in self.spinning.pop(pa, ()):
            spinner = self.actors[cpu]
            if spinner.state is State.SPINNING:
                spinner.time = max(spinner.time, time)
                self.set(cpu, State.RUNNABLE)
            elif spinner.state is State.DELAYED:
                end = min(max(spinner.time, time), spinner.deadline)
                self._clock.cancel(spinner.deadline, cpu)
                spinner.waited -= spinner.deadline - end
                spinner.deadline = end
                self.set(cpu, State.RUNNABLE)

    def stored_in(self, pas: range) -> None:
        """Let those look again whose word may lie in these PAs."""
        for word in [word for word in self.spinning if pas.start - 8 < word < pas.stop]:
            self.stored(word, 0)

    def renumber(self, order: list[int], new: Mapping[int, int]) -> None:
        """Let actor ``order[i]`` be CPU i; ``new`` has the number by the old one."""
        self.actors[:] = [self.actors[old] for old in order]
        self.runnable[:] = sorted(new[cpu] for cpu in self.runnable)
        for cpus in self.spinning.values():
            cpus[:] = [new[cpu] for cpu in cpus]

    def forget_spinners(self) -> None:
        """Forget who spins on what."""
        self.spinning.clear()
