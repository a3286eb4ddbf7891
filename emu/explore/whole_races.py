"""Races of a kernel that boots by itself, from a place on."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from emu.arch import psci
from emu.arch.mpidr import hwid
from emu.cpu.engine import ROW_CPU
from emu.explore.known_races import KNOWN
from emu.explore.races import Race, races
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.host.whole.kernel_memory import KernelMemory
from emu.machine.signals import interrupts_kept
from emu.operation import Kind

_STARTS = (psci.Function.CPU_ON32, psci.Function.CPU_ON64)


@dataclass(frozen=True, slots=True)
class RacesFound:
    """The races of one run.

    :ivar races: those that are not known
    :ivar known: those that are, and what they are known by
    :ivar accesses: how many were looked at
    """

    how: How
    races: tuple[Race, ...]
    known: tuple[tuple[Race, str], ...]
    accesses: int


def run_for_races(boot: WholeBoot, known: Collection[str] = ()) -> RacesFound:
    """Run ``boot`` to its end, and return the races from where it is on.

    :param known: symbols of code or data whose races are meant to be, beside :data:`KNOWN`
    :raises KeyboardInterrupt: the machine can be looked at
    """
    machine = boot.machine
    rows: array[int] = array("Q")
    assert machine.free is not None
    machine.free.interrupts = lambda cpu, other: rows.extend(
        (int(Kind.SEND_INTERRUPT) | cpu << ROW_CPU, 0, other)
    )
    machine.engine.free.record(rows)
    cpu_of = {hwid(actor.pe.mpidr): cpu for cpu, actor in enumerate(machine.actors)}
    told = len(machine.trace)
    with interrupts_kept() as kept:
        while machine.step():
            for index in range(told, len(machine.trace)):
                kind, _size, cpu, _pc, x1, value = machine.trace.row(index)
                if kind == Kind.CALL and value & 0xFFFF_FFFF in _STARTS and x1 in cpu_of:
                    rows.extend((int(Kind.POWER_ON) | cpu << ROW_CPU, 0, cpu_of[x1]))
                elif kind == Kind.POWER_OFF:
                    rows.extend((int(Kind.POWER_OFF) | cpu << ROW_CPU, 0, 0))
            told = len(machine.trace)
            if kept:
                raise KeyboardInterrupt
    memory = KernelMemory(machine.memory, machine.actors[0].pe)
    va_offset = boot.image.subject.va_offset

    @cache
    def word_of(va: int) -> int:
        data = memory.read(va if va >> 63 else va + va_offset & 2**64 - 1, 4)
        return 0 if data is None else int.from_bytes(data, "little")

    found = races(rows, len(machine.actors), word_of)
    unknown: list[Race] = []
    excused: list[tuple[Race, str]] = []
    for race in found:
        names = [boot.name(race.first.pc), boot.name(race.second.pc), data_name(boot, race.pa)]
        symbols = [name.partition("+")[0] for name in names]
        by = next((symbol for symbol in symbols if symbol in KNOWN or symbol in known), None)
        if by is None:
            unknown.append(race)
        else:
            excused.append((race, by))
    return RacesFound(boot.how, tuple(unknown), tuple(excused), len(rows) // 3)


def data_name(boot: WholeBoot, pa: int) -> str:
    """Return ``symbol+0x10`` for a PA of the image, else the PA."""
    subject = boot.image.subject
    in_image = subject.segments[0].pa <= pa < subject.segments[0].pa + boot.image.image_size
    return subject.symbols.describe(pa + subject.va_offset & 2**64 - 1) if in_image else f"{pa:#x}"
