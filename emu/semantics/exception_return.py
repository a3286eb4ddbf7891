"""What an exception return does besides PSTATE and PC (Arm DDI 0487, AArch64.ExceptionReturn())."""

from __future__ import annotations

from emu.semantics.events import send_event_local
from emu.semantics.monitors import disarm
from emu.semantics.state import SystemState


def exception_return(state: SystemState, cpu: int) -> SystemState:
    """ERET, an illegal one too: clear the CPU's own monitor, and set its event register."""
    return send_event_local(disarm(state, cpu), cpu)
