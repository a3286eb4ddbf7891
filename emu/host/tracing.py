"""What a trace of instructions needs to know of the guest: its code and its symbols."""

from __future__ import annotations

from emu.host.build import Boot
from emu.subject import Subject
from emu.trace import SymbolTable

_U64 = 2**64 - 1


def record_instructions(boot: Boot) -> None:
    """Let the machine of ``boot`` keep every instruction, before it runs."""

    def fetch(pc: int) -> int | None:
        guest, memory = boot.guest, boot.machine.memory
        pa = guest.pa_of(pc) if pc >> 63 else pc
        return memory.read(pa, 4) if memory.contains(pa, 4) else None

    boot.machine.record_instructions(fetch)


def symbol_table(subject: Subject) -> SymbolTable:
    """Return all symbols of ``subject`` for a trace of it."""
    symbols = subject.symbols
    start, end = symbols.address("_text"), symbols.address("_end")
    if start is None or end is None:
        pas = [segment.pa for segment in subject.segments]
        ends = [segment.pa + segment.size for segment in subject.segments]
        start, end = min(pas) + subject.va_offset & _U64, max(ends) + subject.va_offset & _U64
    return SymbolTable(subject.va_offset, start, end, symbols.text)
