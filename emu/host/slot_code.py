"""Where code takes a CPU's slot of the table of them: at the use of the index.

That is an ADD of a register, or the LSL before it, or a load by a register, a few instructions behind the
table's address. Fragments are searched whole, of a kernel the functions on the way of a secondary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emu.arch import a64
from emu.arch.boot import SECONDARY_DATA_SIZE
from emu.machine import Machine

if TYPE_CHECKING:
    from emu.host.guest import Guest

_LOOKED_AT = 6  # instructions behind the table's address
_ON_THE_WAY = ("secondary_entry", "secondary_startup", "__secondary_switched")
_SIZE_MAX = 1 << 20  # of fragments, in bytes


class IndexUse(NamedTuple):
    """An instruction that uses the index: its VA, and which X register that is."""

    va: int
    register: int


def index_uses(words: Sequence[int], va: int, table_va: int) -> Iterator[IndexUse]:
    """Yield each use of an index into the table at ``table_va`` in code at ``va``."""
    for number, word in enumerate(words):
        if word & 0x1F00_0000 != 0x1000_0000:  # neither ADR nor ADRP
            continue
        formed = _forms(words, number, va, table_va)
        if formed is None:
            continue
        register, behind = formed
        used = _first_use(words[behind : behind + _LOOKED_AT], va + 4 * behind, register)
        if used is not None:
            yield used


def _forms(words: Sequence[int], number: int, va: int, table_va: int) -> tuple[int, int] | None:
    # The register that ADR, or ADRP and an ADD behind it, lets be table_va, and the number of the next word.
    word, at = words[number], va + 4 * number
    offset = word >> 3 & 0x1F_FFFC | word >> 29 & 3
    offset -= (offset & 1 << 20) << 1
    register = word & 31
    if not word >> 31:
        return (register, number + 1) if at + offset == table_va else None
    page = (at & -4096) + (offset << 12)
    if number + 1 < len(words) and words[number + 1] & 0xFFC0_03FF == 0x9100_0000 | register << 5 | register:
        return (register, number + 2) if page + (words[number + 1] >> 10 & 0xFFF) == table_va else None
    return (register, number + 1) if page == table_va else None


def _first_use(words: Sequence[int], va: int, table: int) -> IndexUse | None:
    shifted: dict[int, IndexUse] = {}
    for number, word in enumerate(words):
        destination, first, second = word & 31, word >> 5 & 31, word >> 16 & 31
        at = va + 4 * number
        if a64.is_branch(word):
            return None
        if word & 0xFFC0_0000 == 0xD340_0000:  # UBFM, which LSL is
            shifted[destination] = IndexUse(at, first)
        elif first == table and (
            word & 0xFF00_0000 == 0x8B00_0000  # ADD of a shifted or extended register
            or word & 0xFFE0_0C00 == 0xF860_0800  # LDR by a register
        ):
            return shifted.get(second, IndexUse(at, second))
    return None


def watch_slots(machine: Machine, guest: Guest) -> None:
    """Let the trace tell of each CPU that takes a slot behind the table of them."""
    if not guest.design.data_per_cpu:
        return
    subject, table_va = guest.subject, guest.subject.va(guest.design.data_symbol)
    slots = subject.defines.get("NR_CPUS") or _slots_by_symbol(guest, table_va)
    uses: dict[int, int] = {}
    for first, behind in _code(guest):
        pa = guest.pa_of(first)
        if behind - first <= _SIZE_MAX and machine.memory.contains(pa, behind - first):
            data = machine.memory.read_bytes(pa, behind - first)
            words = memoryview(data[: len(data) & -4]).cast("I")
            uses |= {use.va: use.register for use in index_uses(words, first, table_va)}
    at_pa = {guest.pa_of(va): register for va, register in uses.items()}
    machine.engine.watch_index(uses | at_pa, slots)


def _slots_by_symbol(guest: Guest, table_va: int) -> int:
    behind = guest.subject.symbols.after(table_va)
    return ((behind or table_va) - table_va) // SECONDARY_DATA_SIZE


def _code(guest: Guest) -> Iterator[tuple[int, int]]:
    # VAs of the code that may take a slot.
    subject = guest.subject
    if not guest.built.fills_tables:
        for segment in subject.segments:
            va = segment.pa + subject.va_offset & 2**64 - 1
            yield va, va + len(segment.data)
        return
    for name in _ON_THE_WAY:
        start = subject.symbols.address(name)
        behind = subject.symbols.after(start) if start is not None else None
        if start is not None and behind is not None:
            yield start, behind
