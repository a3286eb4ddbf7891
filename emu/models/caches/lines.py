"""One cache line of the coherent domain, as values: what each access and each operation makes of it.

All CPUs with caches on are one domain, with one copy of a line at most. Accesses that are not cacheable go
past it to memory (the Point of Coherency). Source: Arm DDI 0487, B2.9 (mismatched memory attributes) and
D7.5.9 (cache maintenance by address); what a model may do at any time: D7.5.1.

Maintenance may take effect as late as at the next DSB of its CPU, or DMB of loads and stores, or before its
CPU's next cacheable access to the line (D7.5.11); it has when time passes that an actor waits for.

MODEL: a DMB ends maintenance as a DSB does, where it only orders it; operations of several CPUs on one line
take effect in the order in which they were issued; every cacheable access allocates; DC IVAC drops a dirty
line, though hardware may clean it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from operator import xor
from typing import NamedTuple

from emu.arch import a64
from emu.memory import LINE_SIZE
from emu.models.protocol import Note, NoteSink
from emu.operation import Kind

_IS_ANOTHER = b"0" + b"1" * 255  # the digit of a byte's difference: none is 0
GRANULES = (64, 128, 256, 512, 1024, 2048)  # bytes: what CTR_EL0.CWG can say, from a line of ours on


class Choice(Enum):
    """What the domain may do to a line by itself. The letters are those of schedules."""

    WRITE_BACK = "w"  # a dirty line becomes clean
    DROP = "d"  # a clean line becomes absent
    FILL = "f"  # an absent line becomes clean: speculation
    MAINTAIN = "m"  # the first delayed operation on the line takes effect


def number_of(choice: Choice) -> int:
    """Return the number of a choice in LINE records."""
    return list(Choice).index(choice)


class Line(NamedTuple):
    """A line: bytes in memory, bytes in the domain or None.

    Bits of ``dirty`` are the bytes that were stored in the domain and not written back; of ``behind`` those
    that were stored in memory since, while the domain had a copy. ``delayed``: CPU and instruction word of DC
    operations that were issued and have taken no effect yet, in that order.
    """

    memory: bytes
    cached: bytes | None = None
    dirty: int = 0
    behind: int = 0
    delayed: tuple[tuple[int, int], ...] = ()

    @property
    def state(self) -> str:
        """``absent``, ``clean`` or ``dirty``."""
        return "absent" if self.cached is None else "dirty" if self.dirty else "clean"

    def view(self, cacheable: bool) -> bytes:
        """Return the bytes that an access with these attributes finds."""
        return self.cached if cacheable and self.cached is not None else self.memory


def at_beginning(first: int, cached: bytes, behind: Mapping[int, bytes]) -> Line:
    """Return the line at ``first`` before any access: absent, or dirty where ``behind`` says so.

    :param cached: what CPUs with caches on find in it
    :param behind: lines of 64 bytes that are older in memory, by PA
    """
    parts = [behind.get(first + at, cached[at : at + LINE_SIZE]) for at in range(0, len(cached), LINE_SIZE)]
    memory = b"".join(parts)
    if memory == cached:
        return Line(cached)
    line = Line(memory, cached)
    return line._replace(dirty=differing(line))


def mask(at: int, size: int) -> int:
    """Return the bits of ``size`` bytes from offset ``at`` on."""
    return ((1 << size) - 1) << at


def loaded(line: Line, cacheable: bool) -> Line:
    """Return the line after a load: a cacheable one allocates."""
    return fill(line) if cacheable and line.cached is None else line


def stored(line: Line, at: int, data: bytes, cacheable: bool) -> Line:
    """Return the line after a store of ``data`` at offset ``at``."""
    bits, end = mask(at, len(data)), at + len(data)
    if cacheable:
        old = line.memory if line.cached is None else line.cached
        cached = old[:at] + data + old[end:]
        return line._replace(cached=cached, dirty=line.dirty | bits, behind=line.behind & ~bits)
    memory = line.memory[:at] + data + line.memory[end:]
    if line.cached is None:
        return line._replace(memory=memory)
    return line._replace(memory=memory, behind=line.behind | bits)


def put(line: Line, at: int, data: bytes) -> Line:
    """Return the line with ``data`` at offset ``at`` in memory and in its copy, which are alike there."""
    bits, end = ~mask(at, len(data)), at + len(data)
    memory = line.memory[:at] + data + line.memory[end:]
    if line.cached is None:
        return line._replace(memory=memory)
    cached = line.cached[:at] + data + line.cached[end:]
    return line._replace(memory=memory, cached=cached, dirty=line.dirty & bits, behind=line.behind & bits)


def words(line: Line) -> str:
    """Return ``absent``, ``clean`` or ``dirty``, whether memory is newer, and what is on its way."""
    newer = ", memory is newer" if line.behind else ""
    return line.state + newer + (", maintenance is on its way" if line.delayed else "")


def stale(line: Line, at: int, size: int, cacheable: bool) -> bytes | None:
    """Return the newer bytes that a load does not get, or None when it gets the newest."""
    if line.cached is None:
        return None
    newer, other = (line.behind, line.memory) if cacheable else (line.dirty & ~line.behind, line.cached)
    mine = line.view(cacheable)
    if not newer & mask(at, size) or mine[at : at + size] == other[at : at + size]:
        return None
    return other[at : at + size]


def fill(line: Line) -> Line:
    """Allocate a clean copy of an absent line."""
    return line._replace(cached=line.memory) if line.cached is None else line


def write_back(line: Line) -> tuple[Line, int]:
    """Write a dirty line to memory whole; it stays, clean.

    :return: the line, and the bits of the bytes that others had stored in memory and that are lost
    """
    if not line.dirty:
        return line, 0
    assert line.cached is not None
    return line._replace(memory=line.cached, dirty=0, behind=0), differing(line) & line.behind


def drop(line: Line) -> tuple[Line, int]:
    """Invalidate the copy; bits of the bytes that were dirty, and are lost with it."""
    return _absent(line), differing(line) & line.dirty & ~line.behind


def clean_and_invalidate(line: Line) -> tuple[Line, int]:
    """DC CIVAC: write back what is dirty, then drop the copy."""
    cleaned, lost = write_back(line)
    return _absent(cleaned), lost


def _absent(line: Line) -> Line:
    return line._replace(cached=None, dirty=0, behind=0)


def differing(line: Line) -> int:
    """Return the bits of the bytes in which the domain's copy and memory differ."""
    if line.cached is None or line.cached == line.memory:
        return 0
    bits = bytes(map(xor, line.cached, line.memory)).translate(_IS_ANOTHER)
    return int(bits[::-1], 2)


def choices(line: Line) -> tuple[Choice, ...]:
    """Return what the domain may do to the line now."""
    later = (Choice.MAINTAIN,) if line.delayed else ()
    if line.cached is None:
        return (Choice.FILL, *later)
    return (Choice.WRITE_BACK, *later) if line.dirty else (Choice.DROP, *later)


def choose(line: Line, choice: Choice) -> tuple[Line, int]:
    """Let the domain do ``choice``; the line, and the bits of lost bytes.

    :raises ValueError: the line's state does not allow it
    """
    if choice not in choices(line):
        raise ValueError(f"{choice.name} of a line that is {line.state}")
    if choice is Choice.FILL:
        return fill(line), 0
    if choice is Choice.MAINTAIN:
        return _take_effect(line, 1)
    return write_back(line) if choice is Choice.WRITE_BACK else drop(line)


def at_end(held: Iterable[tuple[int, Line]]) -> tuple[Note, ...]:
    """Return what the write-back of dirty lines, by PA, that must come some day takes away, and these."""
    notes: list[Note] = []
    for first, line in held:
        new, lost = write_back(line)
        if lost:
            note_lost(lambda *note: notes.append(Note(*note)), first, line, new, lost)
            notes.append(Note(Kind.LINE, first, number_of(Choice.WRITE_BACK), 0))
    return tuple(notes)


# CRm and op1, op2 of DC operations by VA (SYS with CRn 7).
_DC = {
    (0, 6, 1): drop,  # IVAC
    (3, 10, 1): write_back,  # CVAC
    (3, 11, 1): None,  # CVAU: to the point of unification, which data accesses do not see
    (3, 12, 1): write_back,  # CVAP
    (3, 13, 1): write_back,  # CVADP
    (3, 14, 1): clean_and_invalidate,  # CIVAC
}


def _key(word: int) -> tuple[int, int, int]:
    return (word >> 16 & 7, word >> 8 & 15, word >> 5 & 7)


def is_by_va(word: int) -> bool:
    """Tell whether a DC or IC instruction word acts on the data of one line, to the PoC."""
    return _DC.get(_key(word)) is not None


def invalidates(word: object) -> bool:
    """Tell whether a DC instruction by VA drops a line without writing it back."""
    return isinstance(word, int) and _DC.get(_key(word)) is drop


def cleans(word: int) -> bool:
    """Tell whether a DC instruction by VA writes a dirty line back."""
    return _DC.get(_key(word)) in (write_back, clean_and_invalidate)


def maintain(line: Line, word: int) -> tuple[Line, int]:
    """Carry out a DC instruction by VA on the line; bits of the bytes that are lost."""
    operation = _DC[_key(word)]
    assert operation is not None
    return operation(line)


def delay(line: Line, cpu: int, word: int) -> Line:
    """Issue a DC instruction by VA that takes effect later."""
    return line._replace(delayed=(*line.delayed, (cpu, word)))


def complete(line: Line, cpu: int) -> tuple[Line, int]:
    """Let what ``cpu`` has issued on the line take effect, and what others had before; bits of lost bytes."""
    mine = [number for number, (issuer, _) in enumerate(line.delayed) if issuer == cpu]
    return _take_effect(line, mine[-1] + 1) if mine else (line, 0)


def elapse(line: Line) -> tuple[Line, int]:
    """Let everything that was issued on the line take effect; bits of lost bytes."""
    return _take_effect(line, len(line.delayed))


def _take_effect(line: Line, count: int) -> tuple[Line, int]:
    lost = 0
    for _, word in line.delayed[:count]:
        line, more = maintain(line, word)
        lost |= more
    return line._replace(delayed=line.delayed[count:]), lost


def completes(word: int) -> bool:
    """Tell whether the instruction word is a DSB or a DMB of loads and stores (CRm has both types)."""
    return a64.ordered_by(word) == a64.LOADS | a64.STORES


def note_lost(note: NoteSink, first: int, line: Line, new: Line, lost: int) -> None:
    """Note the bytes that are gone with a change of a line, as u64 words; the value is what is gone."""
    gone = line.cached if line.dirty and new.memory == line.memory else line.memory
    assert gone is not None
    for at in range(0, len(gone), 8):
        if lost >> at & 0xFF:
            note(Kind.LOST, first + at, int.from_bytes(gone[at : at + 8], "little"), 8)
