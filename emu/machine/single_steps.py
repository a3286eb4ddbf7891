"""Single actors of a machine, put into any state and out of it again."""

from __future__ import annotations

from emu.machine.actor import ActorState
from emu.machine.machine import Machine


def actor_state(machine: Machine, cpu: int) -> ActorState:
    """Return the state of ``cpu``, but for its PE."""
    actor = machine.actors[cpu]
    return ActorState(
        actor.state,
        actor.task,
        actor.suspended,
        actor.pending,
        actor.outcome,
        actor.landings,
        actor.made,
    )


def set_actor_state(machine: Machine, cpu: int, state: ActorState) -> None:
    """Put ``cpu`` into ``state``, at time 0; its PE is left alone."""
    actor = machine.actors[cpu]
    machine.queue.set(cpu, state.state)
    actor.task, actor.suspended, actor.pending = state.task, state.suspended, state.pending
    actor.outcome, actor.landings, actor.made = state.outcome, state.landings, state.made
    actor.time = actor.waited = actor.spent = 0
    actor.pe.reset_counters()
    machine.stopped = ""
    machine.current = cpu
    machine.clock.restart()
    machine.queue.forget_spinners()
    machine.host_memory.stored_at.clear()
