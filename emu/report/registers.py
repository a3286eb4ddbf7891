"""Registers and the instructions around the PC, laid out as the kernel's ``show_regs()`` does."""

from __future__ import annotations

from collections.abc import Iterator

from emu.cpu.pe import PE
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.host.build import Boot
from emu.report.disassembly import disassemble

_AROUND = 5  # instructions before and after the one where it is


def registers(pe: PE, nzcv: int, place: str) -> Iterator[str]:
    """Yield X0..X30, SP, PC and the flags; ``nzcv`` has them in bits 31:28, ``place`` names the PC."""
    x = list(pe.x)
    flags = "".join(
        name.upper() if nzcv >> bit & 1 else name for name, bit in zip("nzcv", (31, 30, 29, 28), strict=True)
    )
    yield f"  pc : {pe.pc:016x} {place}"
    yield f"  lr : {x[30]:016x}"
    yield f"  sp : {x[31]:016x} nzcv: {flags} EL{pe.el} MPIDR_EL1: {pe.mpidr:#x}"
    for row in range(29, -1, -3):
        yield "  " + " ".join(f"{f'x{number}':<3}: {x[number]:016x}" for number in range(row, row - 3, -1))


def registers_of_answer(under_test: UnderTest, checked: Checked) -> Iterator[str]:
    """Ask a question again and yield the registers at its end; none of a run in which the table changed."""
    if checked.race is not None:
        return
    lookup = under_test.at(checked.nr_cpus, checked.others)
    lookup.check(checked.question)
    subject, single = lookup.target.subject, lookup.single
    place = subject.symbols.describe_pc(single.pe.pc, subject.va_offset)
    yield from registers(single.pe, single.pe.nzcv, place)


def registers_of_cpu(boot: Boot, cpu: int) -> Iterator[str]:
    """Yield the instructions around the PC of a CPU, that one marked, and its registers."""
    subject, memory, pe = boot.guest.subject, boot.machine.memory, boot.machine.actors[cpu].pe
    here = pe.pc if pe.pc >> 63 else (pe.pc + subject.va_offset) % 2**64
    around = range(here - 4 * _AROUND, here + 4 * _AROUND, 4)
    places = {va: subject.symbols.describe(va) for va in around if memory.contains(boot.guest.pa_of(va), 4)}
    width = max(map(len, places.values()), default=0)
    for va, name in places.items():
        text = disassemble(memory.read(boot.guest.pa_of(va), 4), va)
        yield f"  {'>' if va == here else ' '} {name:<{width}} {text}"
    yield from registers(pe, pe.nzcv, subject.symbols.describe_pc(pe.pc, subject.va_offset))
