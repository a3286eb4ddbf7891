"""Boots of the whole depth that are recorded from a chosen place on: accesses, barriers, interrupts of CPUs.

What comes before that place runs unobserved, and is kept (:mod:`emu.host.whole.kept`). Recording changes
nothing of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from emu.arch.dataflow import DataFlow
from emu.arch.sysreg import TCR_EL1
from emu.case import Case
from emu.errors import InvalidCase
from emu.host.tracing import symbols_of
from emu.host.whole.board import Typed
from emu.host.whole.boot import WholeBoot, build_whole, run_to
from emu.host.whole.kept import boot_at
from emu.host.whole.kernel_memory import KernelMemory
from emu.trace import SymbolTable

RECORD_FROM = "smp_init"  # where races are looked for from, unless a user says otherwise
_U64 = 2**64 - 1


def boot_from(case: Case, start: str = "", typed: Typed | None = None, *, keeps: bool = True) -> WholeBoot:
    """Return the boot of ``case``, recording if the case says from where.

    :param start: it stands there, as a CPU first gets to it; "": where it is recorded from, or at power-on
    :param typed: gives what comes in at the console of a case whose input is ``-``
    :param keeps: go on from a boot that was kept there, or keep one
    :raises InvalidCase: there is no such symbol, or the boot does not come to it
    """
    place = case.record_from
    if place and start not in ("", place):
        raise InvalidCase(f"from={start}: it is recorded from {place} on, and begins there; leave --from out")
    if not (place or start):
        return build_whole(case, typed)
    option = "record-from" if place else "from"
    if keeps:
        boot = boot_at(case, place or start, option)
    else:
        boot = build_whole(case)
        run_to(boot, place or start, option)
    if place:
        record(boot)
    return boot


def record(boot: WholeBoot) -> None:
    """From here on keep every access and barrier in the trace of ``boot``, and what rules judge them by."""
    machine = boot.machine
    free = machine.free
    assert free is not None
    fetch = word_reader(boot)
    machine.trace.flow = DataFlow(lambda va: fetch(va) or None)
    free.record()


def image_symbols(boot: WholeBoot) -> SymbolTable:
    """Return all symbols of the kernel, for what reads its trace."""
    subject, pe = boot.image.subject, boot.machine.actors[0].pe
    start = subject.segments[0].pa + subject.va_offset & _U64
    # The linear map begins at the lowest VA of TTBR1 with the start of RAM.
    ram = boot.machine.memory.base
    bits = 64 - (pe.sysreg(TCR_EL1) >> 16 & 63)
    linear = 2**64 - (1 << bits) - ram
    if not pe.mmu_on or pe.translate(ram + linear) != ram:
        linear = 0
    return SymbolTable(
        subject.va_offset, start, start + boot.image.image_size & _U64, linear, subject.symbols.text
    )


def used_symbols(boot: WholeBoot) -> SymbolTable:
    """Return those that name an address or a value of the trace of ``boot``."""
    return symbols_of(boot.machine.trace.values(), image_symbols(boot))


def word_reader(boot: WholeBoot) -> Callable[[int], int]:
    """Return what reads the instruction word (u32) at a VA, or a PA, of code; 0: not known."""
    ram = boot.machine.memory
    memory = KernelMemory(ram, boot.machine.actors[0].pe)

    @cache
    def word_of(va: int) -> int:
        if ram.contains(va, 4):
            return ram.read(va, 4)
        data = memory.read(va, 4)
        return 0 if data is None else int.from_bytes(data, "little")

    return word_of
