"""Power: firmware calls and their effects, and one boot after another."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from emu.machine.actor import Actor, State
from emu.machine.firmware import Effect, Firmware, Platform, PowerOff, PowerOn, Shutdown, StartLater, Suspend
from emu.milestone import Milestone
from emu.operation import Kind
from emu.semantics import power

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class Power:
    """Switches the CPUs of ``machine`` on and off.

    :ivar firmware: what answers calls; None: there is no EL3 and no hypervisor
    :ivar handler: the conduit whose calls go to EL2 code of the guest, and PA of its first instruction
    :ivar shutdown: the name of the call that has switched the system off or reset it; empty: none has
    :ivar event_register: the event register of every CPU at reset, which is UNKNOWN
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._recorder = machine.recorder
        self.firmware: Firmware | None = None
        self.event_register = False
        self.shutdown = ""
        self.handler: tuple[str, int] | None = None
        self._has_run = {0}
        self._started_at = -1  # when the start that is under way was due, which no CPU makes

    # -- firmware ---------------------------------------------------------------------------------

    @property
    def conduit(self) -> str:
        """``"smc"``, ``"hvc"``, or nothing without firmware."""
        return self.firmware.conduit if self.firmware else ""

    def platform(self) -> Platform:
        """Return what firmware sees of the machine now."""
        machine, memory = self._machine, self._machine.memory
        ram = range(memory.base, memory.base + memory.size)
        return Platform(machine.interconnect.system.on, machine.entry_el, ram)

    def ask(self, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Return the answer to a call (signed), None when it does not return; its effects are carried out."""
        assert self.firmware is not None, "a firmware call without firmware"
        answer = self.firmware.call(self.platform(), cpu, function_id & 0xFFFF_FFFF, x1, x2, x3)
        self._apply(answer.effects)
        return answer.result

    def knowledge(self) -> Hashable:
        """Return all that the answers of firmware depend on."""
        return self.platform(), None if self.firmware is None else self.firmware.state()

    def ask_in_vain(self, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Return the answer (u64) to a call that changes nothing; None, and nothing is done: it does."""
        firmware = self.firmware
        assert firmware is not None, "a firmware call without firmware"
        before = firmware.state()
        answer = firmware.call(self.platform(), cpu, function_id & 0xFFFF_FFFF, x1, x2, x3)
        after = firmware.state()
        firmware.set_state(before)
        return (
            None
            if answer.effects or answer.result is None or after != before
            else answer.result & (2**64 - 1)
        )

    def firmware_call(self, cpu: int, pc: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Like :meth:`ask`, and keep the call at ``pc`` in the trace."""
        self._recorder.call(cpu, pc, function_id, x1, x2, x3)
        result = self.ask(cpu, function_id, x1, x2, x3)
        if result is not None:
            self._recorder.event(Kind.RETURN, cpu, pc, result & (2**64 - 1))
        return result

    def _apply(self, effects: Iterable[Effect]) -> None:
        machine = self._machine
        for effect in effects:
            match effect:
                case PowerOn(cpu, entry_pa, x0, el):
                    waited = self._wait_for_lock(cpu)
                    self.switch_on(cpu, entry_pa, x0, el)
                    machine.actors[cpu].time += waited
                    self._recorder.milestone(cpu, Milestone.STARTED, cpu)
                case PowerOff(cpu):
                    self.switch_off(cpu)
                case StartLater(ns, cpu, request):
                    waited = self._wait_for_lock(cpu)
                    self._recorder.milestone(machine.current, Milestone.ASKED, cpu)
                    time = machine.now_of_current + waited + ns
                    machine.clock.set_timer(time, cpu, partial(self._start, request, time))
                case Suspend(cpu):
                    assert machine.free is not None, "without interrupts there is no CPU_SUSPEND"
                    machine.free.suspend(cpu)
                case Shutdown(call):
                    machine.stopped = self.shutdown = call

    def _start(self, request: object, time: int) -> None:
        assert self.firmware is not None
        self._started_at = time
        self._apply(self.firmware.start(self.platform(), request))
        self._started_at = -1

    def _wait_for_lock(self, starting: int) -> int:
        # The ns that the CPU that calls, and the one that it starts, wait for those on their way to C.
        machine = self._machine
        lock = machine.latency.lock
        if not lock or self._started_at >= 0:
            return 0
        caller = machine.actors[machine.current]
        pending = {timer.cpu for timer in machine.clock.timers if timer.action and timer.cpu >= 0}
        on_their_way = len(pending - {starting}) + sum(
            actor.state is not State.OFF
            and (not self._is_in_c(actor) or actor.time > caller.time)  # it has run ahead of the caller
            and actor is not caller
            and cpu != starting
            for cpu, actor in enumerate(machine.actors)
        )
        waits, ns = machine.waits, on_their_way * lock
        waits.lock_waits += bool(on_their_way)
        waits.lock_ns += 2 * ns
        caller.time += ns
        return ns

    def _is_in_c(self, actor: Actor) -> bool:
        return actor.task is not None or (self._machine.free is not None and actor.landings > 0)

    # -- on and off -------------------------------------------------------------------------------

    def switch_on(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        """Switch ``cpu`` on at ``entry_pa`` (PA) with X0 given, MMU off, at ``el`` or the entry EL."""
        interconnect = self._machine.interconnect
        interconnect.system = power.power_on(interconnect.system, cpu, event=self.event_register)
        self.enter(cpu, entry_pa, x0, el)

    def enter(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        """Let ``cpu`` go on in the guest, as after a reset; its event register is as firmware leaves it."""
        machine = self._machine
        actor = machine.actors[cpu]
        machine.naps.forget(actor)
        machine.engine.reset(actor.pe, el or machine.entry_el, entry_pa, x0)
        actor.task = actor.suspended = None
        actor.outcome, actor.made = None, ()
        now = self._started_at if self._started_at >= 0 else machine.now_of_current
        actor.time = max(actor.time, now)
        machine.devices.reset_registers(cpu, actor.time)
        self._has_run.add(cpu)
        self._recorder.event(Kind.POWER_ON, cpu, entry_pa, x0)
        machine.queue.set(cpu, State.RUNNABLE)

    def switch_off(self, cpu: int) -> None:
        """Switch ``cpu`` off."""
        machine = self._machine
        actor = machine.actors[cpu]
        self._recorder.event(Kind.POWER_OFF, cpu, actor.pe.pc, 0)
        machine.interconnect.clear_exclusive(actor.pe)
        machine.interconnect.system = power.power_off(machine.interconnect.system, cpu)
        actor.task = actor.suspended = actor.pending = None
        actor.outcome = None
        machine.queue.set(cpu, State.OFF)

    # -- one boot after another -------------------------------------------------------------------

    def has_run(self, cpu: int) -> bool:
        """Tell whether ``cpu`` has ever left firmware: it was switched on, or was a boot CPU."""
        return cpu in self._has_run

    def end_boot(self, cpu: int, next_boot: str) -> None:
        """Put into the trace how every CPU ends, and that ``cpu`` ends the boot now.

        :param next_boot: the subject that boots next
        """
        machine = self._machine
        self._recorder.outcomes(machine.ends())
        self._recorder.event(Kind.SHUTDOWN, cpu, 0, 0)
        self._recorder.text(Kind.NEXT_BOOT, cpu, 0, next_boot)

    def begin_boot(self, order: Sequence[int]) -> list[int]:
        """Let actor ``order[i]`` be logical CPU i from now on; return it with those behind that it left out.

        The boot before is forgotten: landings, intercepts, watched stores and indices, counters. Power
        states, what PEs execute, event registers and clocks are kept.
        """
        machine, named = self._machine, set(order)
        for actor in machine.actors:
            machine.naps.forget(actor)
        order = [*order, *(cpu for cpu in range(len(machine.actors)) if cpu not in named)]
        new = {old: number for number, old in enumerate(order)}
        machine.queue.renumber(order, new)
        for number, actor in enumerate(machine.actors):
            actor.pe.index = number
            actor.pe.reset_counters()
            actor.spent = actor.landings = 0
        machine.interconnect.renumber(new)
        machine.clock.renumber(new)
        machine.spins.renumber(new)
        machine.current = new.get(machine.current, -1)
        self._has_run = {0} | {new[cpu] for cpu in self._has_run}
        machine.landings.forget()
        machine.engine.watch_stores(range(0))
        machine.engine.watch_index({}, 0)
        for number, old in enumerate(order):
            is_on = self.has_run(number) and machine.actors[number].state is not State.OFF
            self._recorder.event(Kind.REENTRY, number, 0, old, size=int(is_on))
        for number, actor in enumerate(machine.actors):
            if actor.state is State.ENDED and actor.outcome:
                machine.trace.add_outcome(number, actor.pe.pc, actor.outcome)
        return order
