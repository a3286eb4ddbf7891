"""How a session comes back from a function: out of the one that a CPU is in, or over one that it calls."""

from __future__ import annotations

from emu.arch import a64
from emu.debug.frames import backtrace
from emu.debug.session import Session, interrupt_stop
from emu.debug.stops import SessionStop
from emu.machine.actor import generators


def step_out(session: Session, cpu: int) -> SessionStop:
    """Run until the function of ``cpu`` has returned, to where a backtrace says that it has been called.

    Where that is not known, to X30. Of a host task: until it has left the function that it is in; the
    outermost one it does not leave.
    """
    actor = session.machine.actors[cpu]
    if actor.task is None:
        return session.return_to(cpu, [*backtrace(session, cpu, 2), session.pe(cpu).x[30]][1])
    function = generators(actor.task)[-1]
    while True:
        stop = session.step(cpu)
        if stop.reason != "step" or stop.text or function.gi_frame is None:
            return stop
        if session.interrupted():
            return interrupt_stop(stop.cpu)


def step_over(session: Session, cpu: int) -> SessionStop:
    """Run until ``cpu`` has made one step; where that is a call, until it has returned."""
    pe = session.pe(cpu)
    if session.state(cpu) == "runs":
        word = session.places.word(session.code_pa(cpu))
        if word is not None and a64.is_call(word):
            return session.return_to(cpu, pe.pc + 4)
    return session.step(cpu)
