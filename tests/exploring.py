"""Explorers of small programs for tests: one actor per CPU, a host task or A64 text with its MMU off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bare_pe import BASE, CODE, DATA, MAIR, MIDR, SCTLR_RES1, SIZE, TABLES, TCR, M, assemble

from emu.arch import descriptors, sysreg
from emu.cpu.cores import core_of
from emu.cpu.factory import make_engine
from emu.explore.explorer import Explorer
from emu.explore.global_state import GlobalState, Transition
from emu.explore.search import Bounds, Count, Search
from emu.explore.thread_stepper import ThreadStepper
from emu.explore.transition_system import TransitionSystem
from emu.host.psci import Psci
from emu.machine import Machine
from emu.machine.actor import Grain, HostTask
from emu.memory import Memory
from emu.models import MODELS
from emu.operation import Operation, Park
from emu.outcome import ended
from emu.schedulers import make_scheduler
from emu.trace import Trace


@dataclass(frozen=True, slots=True)
class Code:
    """A program of a PE.

    :ivar mapped: it begins with its MMU and caches on, memory mapped to itself, as Normal Write-Back
    :ivar is_on: else firmware is to switch the PE on, with its MMU off
    """

    text: str
    mapped: bool = False
    is_on: bool = True


Program = Callable[[], HostTask] | str | Code
C = 1 << 2  # SCTLR_ELx.C
X, Y, Z = DATA, DATA + 0x100, DATA + 0x200  # words, each in a line of its own


def machine_of(
    programs: Sequence[Program],
    *,
    words: dict[int, int] | None = None,
    conduit: str = "",
    midr: int = MIDR,
    **options: Any,
) -> Machine:
    """Return a machine whose CPUs are about to begin with their programs; x0 of a PE is X.

    :param conduit: of PSCI firmware, ``"smc"`` or ``"hvc"``; nothing: there is none
    """
    memory = Memory(BASE, SIZE)
    for pa, value in (words or {}).items():
        memory.write(pa, 8, value)
    machine = Machine(
        memory,
        make_scheduler(options.pop("scheduler", "round-robin")),
        Trace("test"),
        lambda memory, interconnect: make_engine(memory, interconnect, [core_of(midr)]),
        grain=Grain.OPERATION,
        record=True,
        instructions_max=20_000,
    )
    granule = options.pop("granule", 0)
    if granule:
        machine.use_model(MODELS["caches"], granule)
    assert not options
    if conduit:
        machine.power.firmware = Psci([0x8000_0000 | cpu for cpu in range(len(programs))], conduit)
    for cpu, program in enumerate(programs):
        machine.add_cpu(0x8000_0000 | cpu, midr, {})
        code = Code(program) if isinstance(program, str) else program
        if not isinstance(code, Code):
            machine.start_task(cpu, code())
            continue
        memory.write_bytes(code_of(cpu), assemble(code.text, code_of(cpu)))
        if code.is_on:
            machine.power_on(cpu, code_of(cpu), X)
        if code.mapped:
            _map(machine, cpu)
    return machine


def code_of(cpu: int) -> int:
    """PA of the program of ``cpu``."""
    return CODE + 0x1000 * cpu


def _map(machine: Machine, cpu: int) -> None:
    memory, pe, tables = (
        machine.memory,
        machine.actors[cpu].pe,
        iter(range(TABLES + 0x1000, TABLES + 0x4000, 0x1000)),
    )
    descriptors.map_blocks(
        lambda at: memory.read(at, 8),
        lambda at, value: memory.write(at, 8, value),
        lambda: next(tables),
        TABLES,
        BASE,
        BASE,
        0x40_0000,
        0,
    )
    for register, value in (
        (sysreg.TCR_EL1, TCR),
        (sysreg.MAIR_EL1, MAIR),
        (sysreg.TTBR0_EL1, TABLES),
        (sysreg.SCTLR_EL1, SCTLR_RES1 | M | C),
    ):
        pe.set_system_register(register, value)


def explorer_of(
    programs: Sequence[Program],
    *,
    words: dict[int, int] | None = None,
    cached: bool = False,
    event_register: int = 0,
    granule: int = 64,
    conduit: str = "",
    midr: int = MIDR,
) -> Explorer:
    """Return an explorer of one CPU for each program."""
    machine = machine_of(programs, words=words, conduit=conduit, midr=midr)
    tasks = {cpu: program for cpu, program in enumerate(programs) if not isinstance(program, str | Code)}
    firmware = machine.power.firmware
    stepper = ThreadStepper(machine, tasks, MODELS["caches" if cached else "coherent"])
    return Explorer(stepper, firmware, "test", event_register=event_register, granule=granule)


def task(*operations: Operation) -> Callable[[], HostTask]:
    """Return a program that does these operations, whatever they give."""

    def program() -> HostTask:
        for operation in operations:  # noqa: UP028 - an iterator cannot be sent values
            yield operation
        yield Park(ended("done"))
        return None

    return program


class Ends:
    """A judge that keeps what every end looks like: words in no followed line, and what each actor saw."""

    def __init__(self, *pas: int) -> None:
        self.pas = pas
        self.seen: list[tuple[object, ...]] = []

    def state(
        self, system: TransitionSystem, state: GlobalState, moves: object, path: list[Transition]
    ) -> bool:
        """Go on."""
        return False

    def end(self, system: TransitionSystem, state: GlobalState, path: list[Transition]) -> bool:
        """Keep it."""
        words = tuple(system.cells.value(pa >> 3) for pa in self.pas)
        points = tuple(
            (local.state.value, tuple(local.history.values()) if local.history else local.at, local.said)
            for local in state.locals
        )
        self.seen.append((words, points))
        return False

    def cycle(self, *_arguments: object) -> bool:
        """Go on."""
        return False


def explore(explorer: Explorer, *pas: int, **bounds: Any) -> tuple[Count, Ends]:
    """Search until nothing is learned; give the counts of the last round, and all its ends."""
    while True:
        explorer.stepper.grew = False
        asked = Bounds(**bounds)
        system, ends = explorer.system(asked), Ends(*pas)
        search = Search(system, asked, ends)
        search.run()
        assert not search.stopped, search.stopped
        if not explorer.stepper.grew and not system.footprints.changed:
            return search.count, ends
