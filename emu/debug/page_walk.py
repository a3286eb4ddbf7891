"""The translation of an address as the CPU makes it, look-up by look-up, and the way back from a PA.

The walk is that of :mod:`emu.cpu.translation` and :mod:`emu.cpu.stage2`, whose reads are taken down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE
from emu.cpu.stage2 import Stage2, is_on
from emu.cpu.translation import (
    ADDRESS,
    Fault,
    Read,
    Translation,
    has_two_ranges,
    range_of,
    uses_el2,
    walk,
)

VAS_MAX = 64
_DESCRIPTORS_MAX = 1 << 22  # that a search looks at
_U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One look-up.

    :ivar stage: 1 or 2
    :ivar level: 0..3
    :ivar pa: where the descriptor lies
    :ivar ipa: the same, of a stage 1 table under stage 2; else -1
    :ivar descriptor: u64; None: no memory is there
    """

    stage: int
    level: int
    pa: int
    ipa: int
    descriptor: int | None

    @property
    def is_table(self) -> bool:
        """Whether it leads to the next level."""
        return self.descriptor is not None and self.descriptor & 3 == 3 and self.level < 3


@dataclass(frozen=True, slots=True)
class Walk:
    """What became of an address.

    :ivar regime: ``EL1&0``, ``EL2`` or ``EL2&0``
    :ivar ttbr: the register with the first table; None: stage 1 is off
    :ivar granule: log2 of its bytes; None: reserved, or walks are disabled
    :ivar width: bits of a VA
    :ivar entries: in the order of the look-ups, stage 2 before the look-up of stage 1 that it is for
    :ivar first: what stage 1 says
    :ivar second: what stage 2 says of the address that stage 1 gives, or why a walk failed; None: it is off
    """

    regime: str
    ttbr: Encoding | None
    granule: int | None
    width: int
    entries: tuple[Entry, ...]
    first: Translation | Fault
    second: int | Fault | None

    @property
    def pa(self) -> int | None:
        """The PA; None: it does not translate."""
        if isinstance(self.first, Fault) or isinstance(self.second, Fault):
            return None
        return self.first.pa if self.second is None else self.second


@dataclass(slots=True)
class _Reads:
    # Takes down what is read: address and value.
    read: Read
    seen: list[tuple[int, int | None]] = field(default_factory=list)

    def __call__(self, pa: int) -> int | None:
        value = self.read(pa)
        self.seen.append((pa, value))
        return value

    def take(self) -> list[tuple[int, int | None]]:
        seen, self.seen = self.seen, []
        return seen


def page_walk(pe: PE, va: int, read: Read) -> Walk:
    """Translate ``va`` for a load of ``pe`` now, but for permissions of stage 1, which the engine checks.

    :param read: returns the u64 at a PA, None where no memory is
    """
    reads = _Reads(read)
    second = Stage2(pe, reads) if is_on(pe) else None
    entries: list[Entry] = []  # of stage 1 with level -1, until the walk is over

    def read_first(address: int) -> int | None:
        value = reads(address) if second is None else second.read(address)
        seen = reads.take()
        if second is not None:
            own = seen.pop() if second.fault is None else None
            entries.extend(_of_stage2(second, seen))
            if own is not None:
                entries.append(Entry(1, -1, own[0], address, own[1]))
        else:
            entries.append(Entry(1, -1, *seen[0][:1], -1, seen[0][1]))
        return value

    first = walk(pe, va, read_first)
    found: int | Fault | None = second.fault if second is not None else None
    if second is not None and found is None and isinstance(first, Translation):
        found = second.translate(first.pa)
        entries.extend(_of_stage2(second, reads.take()))
    stopped = second is not None and second.fault is not None  # a look-up of stage 1 before it was made
    is_el2 = uses_el2(pe)
    two_ranges = has_two_ranges(pe, is_el2)
    ttbr, granule, width = _range(pe, is_el2, va >> 55 & 1 if two_ranges else 0)
    return Walk(
        regime=("EL2&0" if two_ranges else "EL2") if is_el2 else "EL1&0",
        ttbr=ttbr if pe.mmu_on else None,
        granule=granule,
        width=width,
        entries=tuple(_with_levels(entries, first.level - stopped)),
        first=first,
        second=found,
    )


def _range(pe: PE, is_el2: bool, high: int) -> tuple[Encoding, int | None, int]:
    tcr = pe.sysreg(sysreg.TCR_EL2 if is_el2 else sysreg.TCR_EL1)
    return range_of(tcr, is_el2, has_two_ranges(pe, is_el2), high)


def _of_stage2(second: Stage2, seen: list[tuple[int, int | None]]) -> Iterator[Entry]:
    for at, (pa, value) in enumerate(seen):
        yield Entry(2, second.first_level + at, pa, -1, value)


def _with_levels(entries: list[Entry], last: int) -> Iterator[Entry]:
    # Entries in which those of stage 1 have their levels; the last one is of `last`.
    level = last - sum(each.stage == 1 for each in entries)
    for each in entries:
        if each.stage == 1:
            level += 1
            yield replace(each, level=level)
        else:
            yield each


# -- from a PA to VAs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where an address is mapped.

    :ivar addresses: VAs, or IPAs, ascending
    :ivar is_all: there are no more
    """

    addresses: tuple[int, ...]
    is_all: bool


def vas_of(pe: PE, pa: int, read: Read) -> Mapped:
    """Return the VAs that ``pe`` has for a PA in its current regime; with its MMU off that is the PA."""
    second = Stage2(pe, read) if is_on(pe) else None
    ipas = Mapped((pa,), True) if second is None else _ipas_of(second, pa, read)
    walk_here = page_walk(pe, 0, read)
    if walk_here.ttbr is None:
        return ipas
    is_el2, is_all, found = uses_el2(pe), ipas.is_all, set[int]()
    for high in (0, 1) if has_two_ranges(pe, is_el2) else (0,):
        ttbr, granule, width = _range(pe, is_el2, high)
        if granule is None:
            continue
        tables = _Tables(read if second is None else second.read, granule)
        base = (_U64 << width) & _U64 if high else 0
        for ipa in ipas.addresses:
            for offset in tables.find(pe.sysreg(ttbr) & ADDRESS, width, ipa):
                found.add(base | offset)
        is_all = is_all and not tables.left
    real = [va for va in sorted(found) if page_walk(pe, va, read).pa == pa]
    return Mapped(tuple(real[:VAS_MAX]), is_all and len(real) <= VAS_MAX)


def _ipas_of(second: Stage2, pa: int, read: Read) -> Mapped:
    tables = _Tables(read, second.granule)
    # Tables of the first level are concatenated where an IPA has more bits than the levels below have.
    found = tables.find(second.table, second.width, pa, levels=4 - second.first_level)
    real = [ipa for ipa in found if second.translate(ipa) == pa]
    return Mapped(tuple(real), not tables.left)


class _Tables:
    # Looks through tables for what is mapped to an address, each table once for each level.

    def __init__(self, read: Read, granule: int) -> None:
        self._read = read
        self._granule = granule
        self._known: dict[tuple[int, int, int], list[int]] = {}  # by table, level and address
        self._looks = 0
        self.left = False  # there was more than fits

    def find(self, table: int, width: int, address: int, levels: int = 0) -> list[int]:
        """Return the addresses below ``1 << width`` that are mapped to ``address``.

        :param levels: of tables; 0: as many as the width needs
        """
        per_level = self._granule - 3
        levels = levels or -(-(width - self._granule) // per_level)
        return self._below(table, self._granule + per_level * (levels - 1), width, address)

    def _below(self, table: int, shift: int, width: int, address: int) -> list[int]:
        key = (table, shift, address)
        if key in self._known:
            return self._known[key]
        found: list[int] = []
        self._known[key] = found
        self._looks += 1 << width - shift
        if self._looks > _DESCRIPTORS_MAX:
            self.left = True
            return found
        for index in range(1 << width - shift):
            descriptor = self._read(table + 8 * index)
            if descriptor is None or not descriptor & 1:
                continue
            if shift > self._granule and descriptor & 2:
                below = self._below(
                    descriptor & ADDRESS & -(1 << self._granule), shift - self._granule + 3, shift, address
                )
                found += [index << shift | offset for offset in below[: VAS_MAX + 1]]
            elif descriptor & ADDRESS & -(1 << shift) == address & -(1 << shift):
                found.append(index << shift | address & (1 << shift) - 1)
            if len(found) > VAS_MAX:
                self.left = True
                break
        return found
