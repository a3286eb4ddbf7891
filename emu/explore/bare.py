"""Explorers of bare programs: a PE for each that begins at an address with registers given, nothing else.

There is no kernel, no device tree and no boot CPU's host task. PEs begin at EL1 with their MMU off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emu.arch import sysreg
from emu.cpu.cores import Core
from emu.cpu.factory import make_engine
from emu.explore.explorer import Explorer
from emu.explore.thread_stepper import ThreadStepper
from emu.machine import Machine
from emu.machine.actor import Grain
from emu.machine.firmware import Firmware
from emu.memory import Memory
from emu.models import MODELS
from emu.schedulers import make_scheduler
from emu.trace import Trace

_INSTRUCTIONS_MAX = 1 << 40  # the explorer has bounds of its own
_RES1 = 1 << 31  # of MPIDR_EL1
_FPEN = 3 << 20  # of CPACR_EL1: vector registers do not trap


@dataclass(frozen=True, slots=True)
class Start:
    """Where a PE begins.

    :ivar pa: of its first instruction
    :ivar registers: what they hold (u64), by number; a reset leaves a pattern in others
    :ivar is_on: else firmware is to switch it on
    """

    pa: int
    registers: Mapping[int, int]
    is_on: bool = True


def bare_explorer(
    memory: Memory,
    starts: Sequence[Start],
    core: Core,
    *,
    model: str = "coherent",
    granule: int = 64,
    event_register: int = 0,
    firmware: Firmware | None = None,
    name: str = "bare",
) -> Explorer:
    """Return an explorer of the PEs that begin so; the explorer has the memory from here on.

    :param model: a name of :data:`emu.models.MODELS`
    :param name: of the traces
    """
    machine = Machine(
        memory,
        make_scheduler("round-robin"),
        Trace(name),
        lambda memory, interconnect: make_engine(memory, interconnect, [core]),
        grain=Grain.OPERATION,
        record=True,
        instructions_max=_INSTRUCTIONS_MAX,
    )
    machine.power.firmware = firmware
    for cpu, start in enumerate(starts):
        machine.add_cpu(_RES1 | cpu, core.midr, {})
        if start.is_on:
            machine.power_on(cpu, start.pa, start.registers.get(0, 0))
            pe = machine.actors[cpu].pe
            pe.set_system_register(sysreg.CPACR_EL1, _FPEN)
            for number, value in start.registers.items():
                pe.x[number] = value
    stepper = ThreadStepper(machine, {}, MODELS[model])
    return Explorer(stepper, firmware, name, event_register=event_register, granule=granule)
