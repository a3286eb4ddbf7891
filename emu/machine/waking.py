"""CPUs that wake from WFE and WFI, and what their host tasks do then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.machine.actor import Actor, State
from emu.operation import Kind
from emu.semantics import events
from emu.semantics.state import members

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class Waking:
    """Wakes the sleepers of ``machine``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def wake_sleepers(self) -> None:
        """Complete the WFE of every CPU that sleeps with its event register set."""
        machine, interconnect = self._machine, self._machine.interconnect
        woken = events.woken(interconnect.system)
        crowds = [(pen.pc, pen.bits, pen.cpus) for pen in machine.naps.wake(woken)]
        interconnect.system = events.wake_all(interconnect.system, woken)
        for _, bits, crowd in crowds:
            machine.queue.wake_crowd(crowd)
            woken &= ~bits
        cpus = members(woken)
        machine.queue.wake_all(cpus)
        now, actors, trace = machine.now, machine.actors, machine.recorder.trace
        guests: list[tuple[int, int]] = []
        for cpu in cpus if machine.spins.aside else ():
            machine.spins.release(cpu)
        for cpu in cpus:
            actor = actors[cpu]
            if actor.time < now:
                actor.time = now
            guests.append((cpu, actor.pe.pc if actor.nap is None else actor.nap.pc))
            if actor.task is not None:
                trace.add_wakes(guests, [(pc, bits & (1 << cpu) - 1) for pc, bits, _ in crowds])
                crowds = [(pc, bits >> cpu << cpu, crowd) for pc, bits, crowd in crowds]
                guests.clear()
                self._advance(cpu, actor)
        trace.add_wakes(guests, [(pc, bits) for pc, bits, _ in crowds])

    def wake_asleep(self, cpu: int) -> None:
        """Complete the WFE of ``cpu``: an event does it, or nothing; an event is consumed."""
        interconnect = self._machine.interconnect
        interconnect.system = events.wake(interconnect.system, cpu)
        self._go_on(cpu, self._machine.now)

    def wake_idle(self, cpu: int) -> None:
        """Complete the WFI of ``cpu``, which has taken its interrupt."""
        self._go_on(cpu, self._machine.now_of_current)

    def _go_on(self, cpu: int, time: int) -> None:
        machine = self._machine
        actor = machine.actors[cpu]
        actor.time = max(actor.time, time)
        machine.recorder.event(Kind.WAKE, cpu, actor.pe.pc, 0)
        machine.queue.set(cpu, State.RUNNABLE)
        if actor.task is not None:
            self._advance(cpu, actor)

    def _advance(self, cpu: int, actor: Actor) -> None:
        machine = self._machine
        waker, machine.current = machine.current, cpu  # what the task does is this CPU's
        machine.tasks.advance(cpu, actor, True)
        machine.current = waker
