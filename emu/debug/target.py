"""The machine that is debugged, as a debugger reads it: CPUs, memory, names. Nothing here changes it."""

from __future__ import annotations

from collections.abc import Callable

from emu.arch.mpidr import hwid
from emu.cpu.pe import PE
from emu.debug.debugged import Debugged
from emu.debug.expressions import evaluate
from emu.debug.loads import Loads
from emu.debug.places import Places
from emu.debug.system_registers import SystemRegisters
from emu.debug.unwind import Unwindings
from emu.errors import InvalidCase
from emu.host.played import frames
from emu.machine.actor import State, end_pc
from emu.operation import Kind

NO_REGISTERS = "has run no code yet: it has no registers"


class NoRegisters(InvalidCase):
    """A CPU has run no code yet, and what was asked for is about its registers."""


class DebugTarget:
    """The machine of one boot."""

    def __init__(self, boot: Debugged) -> None:
        self.boot = boot
        self.machine = boot.machine
        self.places = Places(boot)
        self.system = SystemRegisters(boot.machine)
        self.loads = Loads(self.machine, self.places, self.pa_of)
        self.unwindings = Unwindings(lambda: boot.guest.subject)

    def pe(self, cpu: int) -> PE:
        """Return the PE of a CPU."""
        return self.machine.actors[cpu].pe

    @property
    def cpus(self) -> range:
        """The logical CPUs."""
        return range(len(self.machine.actors))

    def has_registers(self, cpu: int) -> bool:
        """Tell whether a CPU has registers to show: not before it is on its way to its first instruction."""
        actor = self.machine.actors[cpu]
        return bool(actor.pe.pc) or (actor.task is None and actor.state is not State.OFF)

    def check_registers(self, cpu: int) -> None:
        """Refuse what is about the registers of a CPU that has run no code yet.

        :raises NoRegisters: it is such a CPU
        """
        if not self.has_registers(cpu):
            raise NoRegisters(f"CPU{cpu} {NO_REGISTERS}")

    def state(self, cpu: int) -> str:
        """Return the state of a CPU in one word: off, runs, host, wfe, wfi, delayed, spins, ended."""
        actor = self.machine.actors[cpu]
        names = {
            State.OFF: "off",
            State.WAITING: "wfe",
            State.IDLE: "wfi",
            State.DELAYED: "delayed",
            State.SPINNING: "spins",
            State.ENDED: "ended",
        }
        return names.get(actor.state) or ("host" if actor.task is not None else "runs")

    def pa_of(self, cpu: int, address: int) -> int | None:
        """Return the PA of a VA as ``cpu`` has it mapped now, or None."""
        pe = self.pe(cpu)
        if not pe.mmu_on:
            return address if self.machine.memory.contains(address, 1) else None
        return pe.translate(address)

    def code_pa(self, cpu: int) -> int:
        """Return the PA of the instruction that ``cpu`` is at."""
        return self.places.pa(self.pe(cpu).pc)

    def stands_at(self, cpu: int) -> str:
        """Return where a CPU is, or has ended: ``symbol+0x10``, or function and line of a host task."""
        actor = self.machine.actors[cpu]
        if actor.task is None:
            return self.places.describe(end_pc(actor))
        frame = frames(actor.task)[0]
        return f"{frame.shown} ({frame.file}:{frame.line})"

    def left_mode_at(self, _cpu: int, *, raised: bool) -> int:  # noqa: ARG002
        """Return the PC of the last step, by which ``cpu`` came to another EL, or its MMU was switched.

        :param raised: the EL is higher
        """
        return self.machine.pc_before

    def dmesg(self) -> list[str]:
        """Return the kernel's log, with time stamps."""
        trace = self.machine.trace
        rows = [(pa, value) for kind, _s, _a, _pc, pa, value in trace.rows() if kind == Kind.LOG]
        return [f"[{ns // 10**9:5}.{ns % 10**9 // 1000:06}] {trace.strings[value]}" for ns, value in rows]

    def evaluate(self, text: str, cpu: int) -> int:
        """Return the value of an expression (:mod:`emu.debug.expressions`) on ``cpu``.

        :raises InvalidCase: it is not an expression, or reads outside of memory
        """
        return evaluate(text, _CpuNames(self, cpu))


_X = {f"x{number}": number for number in range(31)}
_OF_CODE: dict[str, Callable[[PE], int]] = {
    "nzcv": lambda pe: pe.nzcv,
    "sp": lambda pe: pe.sp,
    "pc": lambda pe: pe.pc,
    "el": lambda pe: pe.el,
}


class _CpuNames:
    # The names that an expression may use on one CPU.

    def __init__(self, target: DebugTarget, cpu: int) -> None:
        self._target = target
        self._cpu = cpu

    def value_of(self, name: str) -> int | None:
        pe = self._target.pe(self._cpu)
        if name in _X or name in _OF_CODE:
            self._target.check_registers(self._cpu)
            return int(pe.x[_X[name]] if name in _X else _OF_CODE[name](pe))
        if name in ("cpu", "hwid"):
            return self._cpu if name == "cpu" else hwid(pe.mpidr)
        system = self._target.system.value_or_none(self._cpu, name)
        if system is not None:
            return system
        return self._target.boot.guest.subject.symbols.address(name)

    def field_of(self, name: str, field: str) -> int:
        return self._target.system.field(self._cpu, name, field)

    def read_at(self, address: int, size: int) -> bytes:
        return self._target.loads.load(self._cpu, address, size)
