"""Guest code: PEs run at the grain of the machine, in the time that the latency profile says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.cpu.engine import UNLIMITED
from emu.cpu.stops import STEP_LIMIT, EngineStop, Reached, StepLimit, single_steps
from emu.machine.actor import Actor, Grain, State

if TYPE_CHECKING:
    from emu.machine.machine import Machine

# Each grain asks for these; to take a member from its enum is a call in Python 3.11.
_FREE, _OPERATION, _WAITING = Grain.FREE, Grain.OPERATION, State.WAITING

SLICE = 1 << 20  # instructions a PE runs at free speed before others get a turn


class GuestCode:
    """Runs the PEs of ``machine``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._clock = machine.clock

    def run(self, cpu: int, actor: Actor) -> bool:
        """Run the PE of ``cpu`` for one grain, and do what its stop asks for; tell whether there was one."""
        machine, pe, clock = self._machine, actor.pe, self._clock
        if machine.free is not None:
            machine.free.run(cpu, actor)
            return False
        if actor.nap is not None:
            if machine.naps.rest((cpu,)):
                return False
            machine.naps.forget(actor)
        trace, engine = machine.recorder.trace, machine.engine
        before = pe.counters.instructions
        if machine.landings.labels:
            machine.landings.pass_label(pe)
        if trace.steps is not None:
            trace.turn(cpu)
        if machine.parts.alone >= 0:
            machine.parts.make(actor)
            stop: EngineStop = STEP_LIMIT
        elif actor.made:
            stop = machine.parts.finish(actor)
        elif machine.grain is _FREE:
            stop = self._run_slice(cpu, actor, max(1, min(SLICE, machine.instructions_left)))
        elif machine.grain is _OPERATION:
            stop = engine.run_operation(pe)
        else:
            stop = engine.step(pe)
        clock.begun += pe.counters.instructions - before
        if trace.steps is not None and (stop.__class__ is not StepLimit or machine.instructions_left <= 0):
            engine.take_state(pe)
            trace.stopped()
        self.spend_time(actor)
        is_stopped = stop.__class__ is not StepLimit
        if is_stopped:
            machine.exits.handle(cpu, actor, stop)
            if actor.state is _WAITING:
                machine.naps.learn(actor)
                machine.spins.count_sleep(cpu)
        if clock.begun >= machine.instructions_max:
            machine.count(0)
        return is_stopped

    def _run_slice(self, cpu: int, actor: Actor, instructions: int) -> EngineStop:
        # In two parts when it is to be looked at in the middle, whether it goes round.
        machine, pe = self._machine, actor.pe
        first = actor.look_at - pe.counters.instructions
        if not 0 < first < instructions or not machine.spins.looks_for_them:
            return machine.engine.run(pe, instructions)
        stop = machine.engine.run(pe, first)
        if stop.__class__ is StepLimit and machine.spins.look(cpu, actor):
            return machine.engine.run(pe, instructions - first)
        return stop

    def spend_time(self, actor: Actor) -> None:
        """Let the time of ``actor`` be what its PE's counters say."""
        spent = self._machine.latency.of(actor.pe.counters)
        actor.time += spent - actor.spent
        actor.spent = spent

    def run_alone(self, cpu: int, exits: Iterable[int], instructions: int = UNLIMITED) -> int:
        """Run the PE of ``cpu`` at full speed until its PC is at one of ``exits`` (VAs), or until it stops.

        :param instructions: at most so many
        :return: how many grains of one instruction it would have been
        """
        machine = self._machine
        actor, engine = machine.actors[cpu], machine.engine
        assert actor.task is None, f"CPU{cpu} runs a host task"
        assert actor.state is State.RUNNABLE, f"CPU{cpu} is {actor.state.value}"
        places = [va for va in exits if va not in machine.landings]
        for va in places:
            engine.break_at(va)
        machine.current = cpu
        before = actor.pe.counters.instructions
        stop = engine.run(actor.pe, max(1, min(instructions, machine.instructions_left)))
        retired = actor.pe.counters.instructions - before
        self.spend_time(actor)
        machine.clock.reach(actor.time)
        for va in places:
            engine.unbreak(va)
        machine.count(retired)
        if stop.__class__ is StepLimit or (isinstance(stop, Reached) and stop.va in places):
            return retired
        machine.exits.handle(cpu, actor, stop)
        return single_steps(retired, stop)
