"""Interrupts between CPUs: one pending bit per CPU.

MODEL: an interrupt ends a WFI and is nothing else; one that is sent to a CPU that is off is lost.
"""

from __future__ import annotations

from emu.semantics.state import SystemState


def send_interrupt(state: SystemState, target: int) -> SystemState:
    """Make an interrupt pending on ``target``; one that waits in WFI takes it and goes on."""
    bit = 1 << target
    if state.idle & bit:
        return state._replace(idle=state.idle & ~bit)
    if state.on & bit:
        return state._replace(interrupts=state.interrupts | bit)
    return state


def wait_for_interrupt(state: SystemState, cpu: int) -> tuple[SystemState, bool]:
    """WFI: take the pending interrupt, or fall asleep without one; True when the CPU goes on."""
    bit = 1 << cpu
    if state.interrupts & bit:
        return state._replace(interrupts=state.interrupts & ~bit), True
    return state._replace(idle=state.idle | bit), False
