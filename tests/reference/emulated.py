"""A program on emu's machine, with what surrounds it on QEMU."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

from reference.cores import Compared
from reference.drawn import Program
from reference.outcome import END, Outcome, read_log
from reference.world import (
    CODE,
    DATA,
    DATA_SIZE,
    ENTRY_SIZE,
    LOG,
    LOG_ENTRIES,
    RAM_BASE,
    RAM_SIZE,
    VECTORS_EL1,
    data,
    tables,
    vectors,
)
from reference.world import END as END_VA

from emu.cpu.cores import Core
from emu.cpu.factory import make_engine
from emu.machine import Machine
from emu.machine.firmware import Answer, Effect, Platform
from emu.memory import Memory
from emu.report.words import outcome_words
from emu.schedulers import make_scheduler
from emu.trace import Trace

INSTRUCTIONS_MAX = 20_000


class Psci:
    """Firmware as QEMU plays it to a call that it does not know: NOT_SUPPORTED.

    :ivar conduit: ``"smc"`` under EL2, ``"hvc"`` without
    """

    def __init__(self, conduit: str) -> None:
        self.conduit = conduit

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        """Refuse."""
        return Answer(-1)

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        """Do nothing: no start is put off."""
        return ()

    def state(self) -> Hashable:
        """Remember nothing."""
        return None

    def set_state(self, state: Hashable) -> None:
        """Remember nothing."""


def make_machine(memory: Memory, entry: int, core: Core) -> Machine:
    """Return a machine of one CPU, switched off, as QEMU's "virt" has it."""
    machine = Machine(
        memory,
        make_scheduler("round-robin"),
        Trace("reference"),
        partial(make_engine, cores=[core]),
        instructions_max=INSTRUCTIONS_MAX,
    )
    machine.entry_el = entry
    machine.power.firmware = Psci("smc" if entry == 2 else "hvc")
    machine.add_cpu(0x8000_0000, core.midr, {})
    return machine


def run(program: Program, code: bytes, compared: Compared) -> Outcome:
    """Run ``program`` from the reset state to its end, or to whatever ends it before."""
    memory = Memory(RAM_BASE, RAM_SIZE)
    memory.write_bytes(VECTORS_EL1, vectors())
    for region in (*tables(), *data(), *program.setup.regions):
        memory.write_bytes(region.pa, region.data)
    memory.write_bytes(CODE, code)
    machine = make_machine(memory, program.setup.entry, compared.core)
    machine.engine.break_at(END_VA)
    machine.power_on(0, CODE, program.x[0])
    pe = machine.actors[0].pe
    for number, value in enumerate(program.x):
        pe.x[number] = value
    pe.x[26], pe.x[28] = 0, LOG
    pe.nzcv = 4 << 28  # QEMU's reset
    machine.run()
    if pe.pc == END_VA:
        ending = END
    else:
        ending = machine.stopped or outcome_words(machine.outcome(0))
    general = tuple(pe.x[number] for number in range(32))
    return Outcome(
        ending,
        (*general, pe.pc),
        pe.pstate,
        read_log(memory.read_bytes(LOG, LOG_ENTRIES * ENTRY_SIZE)),
        memory.read_bytes(DATA, DATA_SIZE),
    )
