"""The boot CPU of our own fragments: it goes through the set-up code that the secondaries go through.

That is what they are compared with. Where it does not come out of that code there is no boot: it is left in
front of the routine, so that the machine runs it and tells how it ends.
"""

from __future__ import annotations

from emu.arch.boot import DRAM_BASE
from emu.cpu.stops import Call, ConstraintViolation, EngineStop, Raised, Reached
from emu.machine import Machine
from emu.operation import Kind
from emu.subject import Subject

_INSTRUCTIONS_MAX = 1_000_000  # of one routine
_EXCEPTIONS_MAX = 1000
_EC_HVC, _IL = 0x16, 1 << 25
_RETURN_PA = DRAM_BASE  # no code is there


class BootCpu:
    """CPU 0 of ``machine``, and the set-up code of ``subject``."""

    def __init__(self, machine: Machine, subject: Subject) -> None:
        self._machine = machine
        self._subject = subject
        self._pe = machine.actors[0].pe

    def set_up(self) -> int | None:
        """Do the set-up code, from a reset on.

        :return: the boot mode that init_kernel_el gives; None: it does not come out of a routine, and stands
            in front of that
        """
        subject = self._subject
        self._machine.engine.reset(self._pe, self._machine.entry_el, subject.pa("init_kernel_el"), 0)
        mode = self._call("init_kernel_el")
        if mode is None:
            return None
        sctlr = self._call("__cpu_setup")
        if sctlr is None:
            return None
        tables = (subject.pa("swapper_pg_dir"), subject.pa("idmap_pg_dir"))
        return mode if self._call("__enable_mmu", sctlr, *tables) is not None else None

    def go_on(self) -> None:
        """Let the machine run it from where it stands."""
        state = self._pe.state()
        self._machine.power.enter(0, self._pe.pc, 0)
        self._pe.set_state(state)

    def _call(self, routine: str, *arguments: int) -> int | None:
        # Run a routine to its return, and return x0 (u64); None: it does not return.
        engine, pe = self._machine.engine, self._pe
        for index, argument in enumerate(arguments):
            pe.x[index] = argument
        pe.x[30] = _RETURN_PA
        pe.pc = self._subject.pa(routine)
        before = pe.state()
        exceptions_max = pe.counters.exceptions + _EXCEPTIONS_MAX
        engine.break_at(_RETURN_PA)
        try:
            while not isinstance(stop := engine.run(pe, _INSTRUCTIONS_MAX), Reached):
                if not self._goes_on(stop) or pe.counters.exceptions > exceptions_max:
                    pe.set_state(before)
                    return None
        finally:
            engine.unbreak(_RETURN_PA)
        return pe.x[0]

    def _goes_on(self, stop: EngineStop) -> bool:
        # Do what a stop asks for, if it is one that a CPU goes on behind.
        machine, pe = self._machine, self._pe
        match stop:
            case Call() if stop.conduit == machine.power.conduit:
                pe.x[0] = (machine.power.ask(0, pe.x[0], pe.x[1], pe.x[2], pe.x[3]) or 0) & 2**64 - 1
            case Call(conduit="hvc") if machine.entry_el == 2:
                pe.take(Raised(_EC_HVC << 26 | _IL | stop.immediate, None, 2, pe.pc))
            case Call():
                pe.take(Raised(_IL, None, max(pe.el, 1), pe.pc - 4))
            case Raised():
                return self._take(stop)
            case ConstraintViolation(constraint, va, pa, raised):
                machine.recorder.text(Kind.MISUSE, 0, va, constraint, pa)
                return self._take(raised)
            case _:
                return False
        return True

    def _take(self, raised: Raised) -> bool:
        if raised.target_el > 2 or raised.preferred_return == self._pe.vector(raised):
            return False
        self._pe.take(raised)
        return True
