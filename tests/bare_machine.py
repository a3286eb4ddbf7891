"""Machines on bare memory for tests: CPUs that are off, one program, firmware that notes its calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from bare_pe import BASE, CODE, DATA, SIZE, assemble

from emu.cpu.cores import DEFAULT, Core
from emu.cpu.factory import make_engine
from emu.machine import Machine
from emu.machine.actor import Grain
from emu.machine.firmware import Answer, Effect, Platform
from emu.memory import Memory
from emu.operation import Kind, Record
from emu.report.words import outcome_words
from emu.schedulers import Scheduler, make_scheduler
from emu.trace import Trace

INCREMENT = "mov x9, #5\nl: ldxr x1, [x0]\n add x1, x1, #1\n stxr w2, x1, [x0]\n cbnz w2, l\n"
COUNT = INCREMENT + " subs x9, x9, #1\n b.ne l\n wfe\n sev\n b ."


class Firmware:
    """Notes each call; gives x1 + 1, or what ``answer`` says."""

    def __init__(self, conduit: str = "smc", answer: Callable[[int], Answer] | None = None) -> None:
        self.conduit = conduit
        self.calls: list[tuple[int, ...]] = []
        self._answer = answer

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        """Note the call."""
        self.calls.append((cpu, function_id, x1, x2, x3))
        return self._answer(cpu) if self._answer else Answer(x1 + 1)

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        """Do nothing: no start is put off."""
        return ()

    def state(self) -> Hashable:
        """Remember nothing."""
        return None

    def set_state(self, state: Hashable) -> None:
        """Remember nothing."""


def make(
    text: str = "b .",
    *,
    cpus: int = 1,
    grain: Grain = Grain.FREE,
    scheduler: str | Scheduler = "round-robin",
    core: Core = DEFAULT,
    entry_el: int = 1,
    **options: Any,
) -> Machine:
    """Return a machine whose CPUs are off, with ``text`` at CODE."""
    memory = Memory(BASE, SIZE)
    memory.write_bytes(CODE, assemble(text, CODE))
    picker = make_scheduler(scheduler) if isinstance(scheduler, str) else scheduler
    options.setdefault("record", True)
    options.setdefault("instructions_max", 10_000_000)
    engine = partial(make_engine, cores=[core])
    machine = Machine(memory, picker, Trace("test"), engine, grain=grain, **options)
    machine.entry_el = entry_el
    for cpu in range(cpus):
        machine.add_cpu(0x8000_0000 | cpu, core.midr, {})
    return machine


def on(machine: Machine, *, at: int = CODE, x0: int = DATA) -> Machine:
    """Switch every CPU on."""
    for cpu in range(len(machine.actors)):
        machine.power_on(cpu, at, x0)
    return machine


def records(machine: Machine, *kinds: Kind) -> list[Record]:
    """Return the records of these kinds."""
    return [record for record in machine.trace if record.kind in kinds]


def outcomes(machine: Machine) -> list[str]:
    """Finish the trace and return where each CPU ended."""
    machine.finish()
    return [outcome_words(machine.outcome(cpu)) for cpu in range(len(machine.actors))]
