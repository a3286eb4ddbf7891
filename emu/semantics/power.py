"""What switching a CPU on and off does to the state that CPUs share."""

from __future__ import annotations

from emu.semantics import monitors
from emu.semantics.state import SystemState, put


def power_on(state: SystemState, cpu: int, *, event: bool) -> SystemState:
    """Reset ``cpu``: awake, its monitor clear, nothing pending.

    :param event: its event register, which is UNKNOWN after a reset (Arm DDI 0487, D1.7.1)
    """
    return _reset(state, cpu)._replace(on=state.on | 1 << cpu, events=put(state.events, cpu, event))


def power_off(state: SystemState, cpu: int) -> SystemState:
    """Switch ``cpu`` off; its event register is kept until the next reset."""
    return _reset(state, cpu)._replace(on=state.on & ~(1 << cpu))


def _reset(state: SystemState, cpu: int) -> SystemState:
    rest = ~(1 << cpu)
    return monitors.disarm(state, cpu)._replace(
        asleep=state.asleep & rest, idle=state.idle & rest, interrupts=state.interrupts & rest
    )
