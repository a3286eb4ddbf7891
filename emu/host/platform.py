"""A machine as firmware hands it over: memory, CPUs that are off, PSCI behind the conduit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Protocol

from emu.arch import sysreg
from emu.arch.boot import DRAM_BASE
from emu.arch.mpidr import INVALID_HWID
from emu.cpu.cores import Core, core_of
from emu.cpu.factory import make_engine
from emu.errors import InvalidCase
from emu.host.choices import BootConfig
from emu.host.guest import Guest
from emu.host.logical_map import LogicalMap
from emu.host.psci import Psci
from emu.machine import Machine
from emu.memory import Memory
from emu.subject import Subject
from emu.topology import Cpu


class NeedsCount(Exception):  # noqa: N818 - no error: the caller begins again
    """A kernel's primary has taken too long to go on without a count of instructions."""


class LoadedSubject(Protocol):
    """A loaded subject and all that follows from it, not yet in a machine's memory.

    :cvar has_kernel: the host plays a kernel's boot around it
    """

    has_kernel: ClassVar[bool]

    @property
    def config(self) -> BootConfig:
        """The configuration that it was loaded for."""

    @property
    def subject(self) -> Subject:
        """Its bytes and symbols."""

    @property
    def logical(self) -> LogicalMap:
        """The CPUs as the kernel numbers them."""

    @property
    def memory_size(self) -> int:
        """Bytes of DRAM, from DRAM_BASE, that it needs."""

    def id_registers(self, core: Core) -> Mapping[sysreg.Encoding, int]:
        """Values (u64) on every CPU of this core whose topology entry does not override them."""

    def place(self, machine: Machine, *, counted: bool = False) -> Guest:
        """Write all that it needs besides its segments to memory; leave CPU 0 at the take-over.

        :param counted: count the instructions of a kernel's primary
        :raises NeedsCount: not ``counted``, and it takes long; the machine is not what it was
        :raises Untestable: its primary does not reach the take-over
        """


def install(loaded: LoadedSubject, memory_size: int = 0) -> tuple[Machine, Psci, Guest]:
    """Return a machine with the subject in its memory, its firmware and its guest.

    :param memory_size: least size of memory, bytes
    :raises Untestable: its primary does not reach the take-over
    """
    try:
        return _install(loaded, memory_size, counted=False)
    except NeedsCount:
        return _install(loaded, memory_size, counted=True)


def _install(loaded: LoadedSubject, memory_size: int, *, counted: bool) -> tuple[Machine, Psci, Guest]:
    memory = Memory(DRAM_BASE, max(loaded.memory_size, memory_size))
    for segment in loaded.subject.segments:
        memory.write_bytes(segment.pa, segment.data)
    machine, psci = make_machine(loaded.config, loaded.logical, memory, loaded.id_registers)
    machine.interconnect.looks_for_monitors = loaded.has_kernel
    return machine, psci, loaded.place(machine, counted=counted)


# Gives the ID registers (u64) of a core that differ from its own.
OfCore = Callable[[Core], Mapping[sysreg.Encoding, int]]


def make_machine(
    config: BootConfig, logical: LogicalMap, memory: Memory, id_registers: OfCore
) -> tuple[Machine, Psci]:
    """Return the machine and its firmware.

    :param id_registers: values (u64) on every CPU whose topology entry does not override them
    :raises InvalidCase: a device overlaps the subject's RAM
    """
    case = config.case
    cores = {core_of(cpu.midr).name: core_of(cpu.midr) for cpu in config.topology.cpus}.values()
    machine = Machine(
        memory,
        config.scheduler,
        config.trace,
        partial(make_engine, cores=cores),
        grain=config.grain,
        record=config.record,
        latency=config.latency,
        instructions_max=case.instructions_max,
    )
    machine.entry_el = case.el
    for placed in config.devices:
        if placed.pas.start < memory.base + memory.size and memory.base < placed.pas.stop:
            raise InvalidCase(
                f"device={case.device}: {placed.kind.name} lies in RAM, from {memory.base:#x} on"
            )
        machine.devices.add(placed.pas, placed.kind.device(machine.devices.board(placed.base_pa)))
    machine.has_lines = config.has_lines
    machine.use_model(config.model, case.granule)
    for number, cpu in enumerate(logical.cpus):
        if cpu is None:  # a logical number without a CPU: never on
            machine.add_cpu(INVALID_HWID, 0, {})
            continue
        registers = id_registers_of(config, number, cpu, id_registers)
        pe = machine.add_cpu(cpu.mpidr, cpu.midr, registers).pe
        pe.e2h_res1 = any(fault.is_e2h_res1(cpu) for fault in config.faults.get(number, ()))
    mpidrs = [actor.pe.mpidr for actor in machine.actors]
    psci = Psci(mpidrs, config.topology.conduit, config.faults)
    machine.power.firmware = psci
    return machine, psci


def id_registers_of(
    config: BootConfig, number: int, cpu: Cpu, otherwise: OfCore
) -> dict[sysreg.Encoding, int]:
    """Return the ID registers of logical CPU ``number`` that differ from the PE's defaults.

    :param otherwise: of every CPU; the topology's entry ``cpu`` overrides them, the CPU's faults override
        both
    """
    registers = {**otherwise(core_of(cpu.midr)), **cpu.id_registers}
    for fault in config.faults.get(number, ()):
        registers |= fault.id_registers(cpu)
    return registers
