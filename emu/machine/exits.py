"""Why a PE stopped running, and what comes of it: exceptions, calls, landings, ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.arch.sysreg import CNTHCTL_EL2, CNTKCTL_EL1, EVNTEN
from emu.cpu.pe import PE
from emu.cpu.stops import (
    Call,
    ConstraintViolation,
    EngineStop,
    Raised,
    Reached,
    SelfBranch,
    Unsupported,
    Waiting,
)
from emu.machine.actor import Actor, State
from emu.operation import Kind
from emu.outcome import End, Outcome

if TYPE_CHECKING:
    from emu.machine.machine import Machine

_EC_SVC, _EC_HVC, _EC_SMC, _IL = 0x15, 0x16, 0x17, 1 << 25
_NO_CODE = (0x00, 0x20, 0x21, 0x22)  # ECs of an instruction that cannot be fetched, or is none


def _has_event_stream(pe: PE) -> bool:
    return any(pe.system_register(control) & EVNTEN for control in (CNTKCTL_EL1, CNTHCTL_EL2))


class Exits:
    """Handles the stops of the PEs of ``machine``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._recorder = machine.recorder

    def handle(self, cpu: int, actor: Actor, stop: EngineStop) -> None:
        """Do what ``stop`` asks for."""
        machine, pe = self._machine, actor.pe
        match stop:
            case Waiting(Kind.WFE) if _has_event_stream(pe):
                # MODEL: the event stream wakes CPUs that run freely alone.
                pe.pc -= 4
                self.handle(cpu, actor, Unsupported("WFE with the event stream on", pe.pc))
            case Waiting(Kind.WFE):
                machine.queue.set(cpu, State.WAITING)
            case Waiting():
                machine.end(cpu, Outcome(End.WAITS_FOR_INTERRUPT), pe.pc - 4)
            case Call():
                self._call(cpu, actor, stop)
            case Raised():
                self._raise(cpu, actor, stop)
            case Reached(va):
                self._reached(cpu, actor, va)
            case SelfBranch(va):
                self._recorder.operation(Kind.PARK, cpu, va, 0, 0)
                machine.end(cpu, Outcome(End.SELF_BRANCH), va)
            case ConstraintViolation(constraint, va, pa, raised):
                self._recorder.text(Kind.MISUSE, cpu, va, constraint, pa)
                self._raise(cpu, actor, raised)
            case Unsupported(what, va):
                self._recorder.text(Kind.UNSUPPORTED, cpu, va, what)
                machine.end(cpu, Outcome(End.UNMODELLED, what), va)
                # What would come of it is not known, of this CPU and of those that wait for it.
                machine.stopped = f"CPU{cpu}: not modelled: {what}"

    def _reached(self, cpu: int, actor: Actor, va: int) -> None:
        machine, pe = self._machine, actor.pe
        if va in machine.landings.intercepts:
            machine.landings.intercepts[va](cpu)
            if actor.outcome is None:
                pe.pc = pe.x[30]
        elif va == machine.landings.return_va and actor.suspended is not None:
            actor.task, actor.suspended = actor.suspended, None
            machine.tasks.advance(cpu, actor, pe.x[0])
        elif va in machine.landings.tasks:
            actor.landings += 1
            self._recorder.land(cpu, pe, va, actor.landings, pe.entry_el)
            actor.task = machine.landings.tasks[va](cpu)
            machine.tasks.advance(cpu, actor, None)
        elif va not in machine.landings.labels:
            machine.stopped = f"CPU {cpu} at the breakpoint {va:#x}"

    def _raise(self, cpu: int, actor: Actor, raised: Raised) -> None:
        pe = actor.pe
        if raised.target_el > 2:
            what = f"exception to EL3, ESR {raised.syndrome:#x}"
            self.handle(cpu, actor, Unsupported(what, raised.preferred_return))
            return
        at, ec = raised.preferred_return, raised.syndrome >> 26
        if at == pe.vector(raised) and ec not in (_EC_SVC, _EC_HVC):
            # The vector's own first instruction raises, and would for ever. SVC and HVC return behind it.
            end = End.VECTOR_WITHOUT_CODE if ec in _NO_CODE else End.VECTOR_RAISES
            self._machine.end(cpu, Outcome(end, number=raised.syndrome), at)
            return
        kind = (at, raised.syndrome)
        actor.repeats = actor.repeats + 1 if kind == actor.raised else 0
        actor.raised = kind
        el = pe.take(raised)
        self._recorder.event(Kind.EXCEPTION, cpu, at, raised.syndrome, raised.far or 0, el)
        # In free running nothing sees the stores of a PE that is run ahead, so they could not be undone.
        if ec not in (_EC_SVC, _EC_HVC, _EC_SMC) and self._machine.free is None:
            self._machine.spins.look_at_exception(cpu)

    def _call(self, cpu: int, actor: Actor, call: Call) -> None:
        machine, pe = self._machine, actor.pe
        pe.counters.calls += 1
        if call.conduit == machine.power.conduit:
            result = machine.power.firmware_call(cpu, pe.pc - 4, pe.x[0], pe.x[1], pe.x[2], pe.x[3])
            if result is not None:
                pe.x[0] = result & (2**64 - 1)
        elif machine.power.handler is not None and call.conduit == machine.power.handler[0]:
            # MODEL: the handler runs at EL2 in the place of EL3; SMC and HVC come with their own ECs.
            ec = _EC_SMC if call.conduit == "smc" else _EC_HVC
            self._raise(cpu, actor, Raised(ec << 26 | _IL | call.immediate, None, 2, pe.pc))
            pe.pc = machine.power.handler[1]
        elif call.conduit == "hvc" and pe.entry_el == 2:
            self._raise(cpu, actor, Raised(_EC_HVC << 26 | _IL | call.immediate, None, 2, pe.pc))
        else:  # no EL2, or no EL3: the instruction is UNDEFINED
            pe.counters.instructions -= 1
            self._raise(cpu, actor, Raised(_IL, None, max(pe.el, 1), pe.pc - 4))
