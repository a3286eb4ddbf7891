"""A machine as firmware hands it over: memory, CPUs that are off, PSCI behind the conduit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from emu.arch import sysreg
from emu.arch.boot import DRAM_BASE
from emu.arch.mpidr import INVALID_HWID
from emu.case import Case
from emu.cpu.engine import Engine
from emu.cpu.factory import make_engine
from emu.cpu.pe import PE
from emu.cpu.stops import Reached
from emu.devices import parse_devices
from emu.errors import InvalidCase
from emu.host.faults import Fault
from emu.host.guest import Guest
from emu.host.parameters import Parameters
from emu.host.psci import Psci
from emu.host.smp_init_cpus import LogicalMap, smp_init_cpus
from emu.machine import Machine
from emu.machine.actor import Grain
from emu.machine.latency import PROFILES
from emu.memory import Memory
from emu.models import memory_model
from emu.registry import not_one_of
from emu.schedulers import make_scheduler
from emu.subject import Subject
from emu.topology import Cpu, Topology
from emu.trace import Trace

_CALL_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """What a machine is built from: the case, and what follows from it without the subject.

    :ivar topology: every choice made (:func:`emu.host.firmware.settle`)
    :ivar faults: by logical CPU
    :ivar record: keep every operation in the trace, not events alone
    """

    case: Case
    topology: Topology
    parameters: Parameters
    faults: Mapping[int, Sequence[Fault]]
    trace: Trace
    record: bool

    def logical(self, nr_cpus: int, *, online_capable: bool = True) -> LogicalMap:
        """Return what a kernel with this CONFIG_NR_CPUS makes of the topology.

        :param online_capable: whether it has vCPU hotplug
        """
        nr_cpu_ids = min(self.parameters.nr_cpus or nr_cpus, nr_cpus)
        refused = {cpu for cpu, found in self.faults.items() if any(fault.refused() for fault in found)}
        return smp_init_cpus(self.topology, nr_cpus, nr_cpu_ids, refused, online_capable=online_capable)


class Loaded(Protocol):
    """A subject with all that follows from it, in no memory yet."""

    @property
    def setting(self) -> Setting:
        """What it is loaded for."""

    @property
    def subject(self) -> Subject:
        """Its bytes and symbols."""

    @property
    def logical(self) -> LogicalMap:
        """The CPUs as it numbers them."""

    @property
    def memory_size(self) -> int:
        """Bytes of DRAM, from DRAM_BASE, that it needs."""

    @property
    def id_registers(self) -> Mapping[sysreg.Encoding, int]:
        """What reads so on every CPU that does not say otherwise."""

    def place(self, machine: Machine) -> Guest:
        """Put what it needs besides its segments into memory; leave CPU 0 where the host takes over.

        :raises Untestable: its primary does not get there
        """


def install(loaded: Loaded, memory_size: int = 0) -> tuple[Machine, Psci, Guest]:
    """Return a machine with the subject in its memory, its firmware and its guest.

    :param memory_size: bytes of memory, at least

    :raises InvalidCase: see :func:`make_machine`
    :raises Untestable: its primary does not come to where the host takes over
    """
    memory = Memory(DRAM_BASE, max(loaded.memory_size, memory_size))
    for segment in loaded.subject.segments:
        memory.write_bytes(segment.pa, segment.data)
    machine, psci = make_machine(loaded.setting, loaded.logical, memory, loaded.id_registers)
    return machine, psci, loaded.place(machine)


def make_machine(
    setting: Setting, logical: LogicalMap, memory: Memory, id_registers: Mapping[sysreg.Encoding, int]
) -> tuple[Machine, Psci]:
    """Return the machine and its firmware; ``id_registers`` read so on every CPU that does not say otherwise.

    :raises InvalidCase: no such scheduler, grain or latency profile, or a fault of a CPU that there is not
    """
    case = setting.case
    if case.latency not in PROFILES:
        raise InvalidCase(f"latency={case.latency}: {not_one_of(case.latency, PROFILES)}")
    grains = [grain.value for grain in Grain]
    if case.grain not in grains:
        raise InvalidCase(f"grain={case.grain}: {not_one_of(case.grain, grains)}")
    for number in setting.faults:
        if number >= len(logical.cpus) or logical.cpus[number] is None:
            raise InvalidCase(f"fault={case.fault}: the kernel has no CPU{number} from this topology")
    machine = Machine(
        memory,
        make_scheduler(case.scheduler),
        setting.trace,
        make_engine,
        grain=Grain(case.grain),
        record=setting.record,
        latency=case.latency,
        instructions_max=case.instructions_max,
    )
    machine.entry_el = case.el
    for placed in parse_devices(case.device):
        if placed.pas.start < memory.base + memory.size and memory.base < placed.pas.stop:
            raise InvalidCase(
                f"device={case.device}: {placed.kind.name} lies in RAM, from {memory.base:#x} on"
            )
        machine.devices.add(placed.pas, placed.kind.device(machine.log))
    machine.use_model(memory_model(case.memory, case.granule), case.granule)
    for number, cpu in enumerate(logical.cpus):
        if cpu is None:  # a logical number without a CPU: off for ever
            machine.add_cpu(INVALID_HWID, 0, {})
            continue
        registers = id_registers_of(setting, number, cpu, id_registers)
        machine.add_cpu(cpu.mpidr, cpu.midr, registers)
    mpidrs = [actor.pe.mpidr for actor in machine.actors]
    psci = Psci(mpidrs, setting.topology.conduit, setting.faults)
    machine.power.firmware = psci
    return machine, psci


def id_registers_of(
    setting: Setting, number: int, cpu: Cpu, otherwise: Mapping[sysreg.Encoding, int]
) -> dict[sysreg.Encoding, int]:
    """Return what reads differently on logical CPU ``number``: as all say, as it says, as its faults say."""
    registers = {**otherwise, **cpu.id_registers}
    for fault in setting.faults.get(number, ()):
        registers |= fault.id_registers(cpu)
    return registers


def call(engine: Engine, pe: PE, entry: int, *arguments: int, return_at: int) -> int:
    """Run a routine on ``pe`` to its return and give x0 (u64).

    ``entry`` and ``return_at`` are addresses of the current regime; no code runs at ``return_at``.
    """
    for index, argument in enumerate(arguments):
        pe.x[index] = argument
    pe.x[30] = return_at
    pe.pc = entry
    engine.break_at(return_at)
    stop = engine.run(pe, _CALL_MAX)
    engine.unbreak(return_at)
    assert isinstance(stop, Reached), f"{entry:#x} did not return: {stop}"
    return pe.x[0]
