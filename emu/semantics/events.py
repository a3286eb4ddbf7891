"""Event registers: WFE, SEV, SEVL and what wakes a sleeper (Arm DDI 0487, D1.7.1).

MODEL: an exception return sets none, where AArch64.ExceptionReturn() ends in SendEventLocal(): a WFE that
comes before the look at its word is found, although that one spare event may hide it on hardware.
"""

from __future__ import annotations

from emu.semantics.state import SystemState


def send_event(state: SystemState) -> SystemState:
    """SEV: set the event register of every CPU that is on."""
    return state._replace(events=state.events | state.on)


def send_event_local(state: SystemState, cpu: int) -> SystemState:
    """SEVL: set the event register of ``cpu``."""
    return state._replace(events=state.events | 1 << cpu)


def has_event(state: SystemState, cpu: int) -> bool:
    """Tell whether the event register of ``cpu`` is set."""
    return bool(state.events >> cpu & 1)


def wait_for_event(state: SystemState, cpu: int) -> tuple[SystemState, bool]:
    """WFE: consume the event, or fall asleep without one; True when the CPU goes on."""
    bit = 1 << cpu
    if state.events & bit:
        return state._replace(events=state.events & ~bit), True
    return state._replace(asleep=state.asleep | bit), False


def fall_asleep(state: SystemState, cpus: int) -> SystemState:
    """WFE of a set of CPUs none of which has an event: all sleep."""
    return state._replace(asleep=state.asleep | cpus)


def woken(state: SystemState) -> int:
    """Return the set of CPUs whose WFE completes now: asleep, with the event register set."""
    return state.asleep & state.events


def wake(state: SystemState, cpu: int) -> SystemState:
    """Complete the WFE of a sleeper, which consumes its event if there is one."""
    return wake_all(state, 1 << cpu)


def wake_all(state: SystemState, cpus: int) -> SystemState:
    """Complete the WFE of a set of sleepers, which consumes their events."""
    return state._replace(asleep=state.asleep & ~cpus, events=state.events & ~cpus)
