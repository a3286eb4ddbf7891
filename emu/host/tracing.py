"""What a trace needs to know of the guest: its code and its symbols."""

from __future__ import annotations

from collections.abc import Iterable

from emu.host.build import Boot
from emu.host.guest import Guest
from emu.subject.symbols import Symbols
from emu.trace import SymbolTable

_U64 = 2**64 - 1
# What the host keeps of each CPU, and how it is called.
_WORDS = ("online", "present", "enabled", "sync_state", "request", "done", "rcu", "release", "mailbox")


def record_instructions(boot: Boot) -> None:
    """Let the machine of ``boot`` keep every instruction, before it runs."""
    machine = boot.machine
    machine.trace.record_instructions(machine.engine.record_steps())


def symbol_table(guest: Guest) -> SymbolTable:
    """Return all symbols of ``guest``, for a trace; ``name@CPU`` at a PA is a word of the host's own."""
    subject = guest.subject
    start, end = subject.symbols.address("_text"), subject.symbols.address("_end")
    if start is None or end is None:
        start = min(segment.pa for segment in subject.segments) + subject.va_offset & _U64
        end = max(segment.pa + segment.size for segment in subject.segments) + subject.va_offset & _U64
    task = guest.idle[-1].task  # the first one is in the image
    linear_offset = task - guest.pa_of(task) & _U64
    rows = [(guest.data.cpu_running, "cpu_running"), (guest.data.stuck, "cpus_stuck_in_kernel")]
    rows += [
        (getattr(guest.data, name)(cpu), f"{name}@{cpu}")
        for cpu in range(len(guest.hwids))
        for name in _WORDS
    ]
    text = "".join(f"{pa:016x} d {name}\n" for pa, name in sorted(rows)).encode()
    return SymbolTable(subject.va_offset, start, end, linear_offset, text + subject.symbols.text)


def used_symbols(boot: Boot) -> SymbolTable:
    """Return the symbols that name an address or a value of the trace of ``boot``: all a reader needs."""
    base = boot.guest.data.base_pa
    guest_data = range(base, base + boot.guest.data.size(len(boot.guest.hwids)))
    return symbols_of(boot.machine.trace.values(), symbol_table(boot.guest), guest_data)


def symbols_of(values: Iterable[int], table: SymbolTable, words: range = range(0)) -> SymbolTable:
    """Return the symbols of ``table`` that name one of ``values``.

    :param words: PAs of words of the host's own, which have a name each
    """
    symbols = Symbols(table.text)
    rows = set()
    for value in values:
        word = symbols.at(value) if words.start <= value < words.stop else None
        if word and not word[1]:
            rows.add((value, word[0]))
        for va in (value, value + table.va_offset & _U64):
            found = symbols.at(va) if table.start <= va < table.end else None
            if found:
                rows.add((va - found[1], found[0]))
    text = "".join(f"{va:016x} T {name}\n" for va, name in sorted(rows)).encode()
    return SymbolTable(table.va_offset, table.start, table.end, table.linear_offset, text)
