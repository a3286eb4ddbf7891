"""A machine as firmware hands it over: memory, CPUs that are off, PSCI behind the conduit."""

from __future__ import annotations

from collections.abc import Mapping

from emu.actor import Grain
from emu.arch import sysreg
from emu.case import Case
from emu.engine import Engine
from emu.errors import InvalidCase
from emu.host.faults import parse_faults
from emu.host.psci import Psci
from emu.latency import PROFILES
from emu.machine import Machine
from emu.memory import Memory
from emu.pe import PE
from emu.schedulers import make_scheduler
from emu.stops import Reached
from emu.topology import Topology
from emu.trace import Trace

_CALL_MAX = 1_000_000


def make_machine(
    case: Case,
    topology: Topology,
    memory: Memory,
    trace: Trace,
    record: bool,
    id_registers: Mapping[sysreg.Encoding, int],
) -> Machine:
    """Return the machine of ``case``; ``id_registers`` read so on every CPU that does not say otherwise.

    :raises InvalidCase: no such scheduler, grain or latency profile
    """
    if case.latency not in PROFILES:
        raise InvalidCase(f"latency={case.latency}: not one of {', '.join(PROFILES)}")
    grains = [grain.value for grain in Grain]
    if case.grain not in grains:
        raise InvalidCase(f"grain={case.grain}: not one of {', '.join(grains)}")
    machine = Machine(
        memory,
        make_scheduler(case.scheduler),
        trace,
        grain=Grain(case.grain),
        record=record,
        latency=case.latency,
        instructions_max=case.instructions_max,
    )
    machine.entry_el = case.el
    faults = parse_faults(case.fault, len(topology.cpus))
    for number, cpu in enumerate(topology.logical):
        registers = {**id_registers, **cpu.id_registers}
        for fault in faults.get(number, ()):
            registers |= fault.id_registers(cpu)
        machine.add_cpu(cpu.mpidr, cpu.midr, registers)
    machine.firmware = Psci(machine, case.conduit, faults)
    return machine


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
