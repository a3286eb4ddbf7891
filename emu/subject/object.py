"""A relocatable object (ELF ET_REL, a ``.o`` file) as a Subject: laid out from IMAGE_PA and relocated there.

Loaded in this order: code, read-only data, data, a global offset table if a relocation needs one, zeroed
data. Notes and unwind tables are not loaded: no code reads them.

Code runs at its PA until the MMU is on and at its VA after that. A PC-relative address is right in both
regimes; an absolute address is right in one of them.

Source: ELF for the Arm 64-bit Architecture (AAELF64), sections Relocation and Weak references.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from emu.arch.boot import IMAGE_PA, VA_OFFSET
from emu.errors import Untestable
from emu.subject import Segment, Subject
from emu.subject.object_file import (
    SHN_ABS,
    SHN_COMMON,
    SHN_UNDEF,
    STB_LOCAL,
    STB_WEAK,
    STT_FILE,
    STT_GNU_IFUNC,
    STT_SECTION,
    STT_TLS,
    ObjectFile,
    Rank,
    RelocationEntry,
    Symbol,
)
from emu.subject.relocation import Formula, OutOfReach
from emu.subject.symbols import Symbols
from emu.subject.unwrap import read_file

OBJECT_SIZE_MAX = 128 << 20  # bytes in memory: as far as B reaches
_UNDEFINED_SHOWN_MAX = 8
_GOT_SYMBOL = "_GLOBAL_OFFSET_TABLE_"
_NOT_PLACES = (STT_SECTION, STT_FILE, STT_TLS, STT_GNU_IFUNC)
_LOCAL_NAMES = ("$", ".L")  # mapping symbols, and labels that the assembler should have dropped

Absolute = Literal["va", "pa"]
_NOTHING: Mapping[str, int] = MappingProxyType({})


def load_object(path: Path, defines: Mapping[str, int] = _NOTHING, *, absolute: Absolute = "va") -> Subject:
    """Load a ``.o`` file at IMAGE_PA.

    :param defines: values (u64) of the symbols that the object leaves undefined: a number, or an address (PA
        or VA) that PC-relative code reaches
    :param absolute: whether an absolute relocation gets the VA (PA + VA_OFFSET) of its symbol or the PA; a
        value of ``defines`` stays as it is
    :raises InvalidSubject: no AArch64 relocatable object, damaged, or linked already
    :raises Untestable: undefined symbols, nothing to load, a relocation out of reach or of an unknown type
    """
    return link(read_file(path), str(path), defines, absolute=absolute)


def link(
    data: bytes, name: str, defines: Mapping[str, int] = _NOTHING, *, absolute: Absolute = "va"
) -> Subject:
    """Link the bytes of a ``.o`` file to a Subject, as :func:`load_object` does.

    :param name: its name in messages; the last part is the Subject's name
    """
    file = ObjectFile(data, name)
    relocations = file.relocations()
    used = {entry.symbol for entry in relocations}
    undefined = {s.name for s in used if s.section == SHN_UNDEF and s.binding != STB_WEAK}
    if missing := sorted(undefined - set(defines) - {"", _GOT_SYMBOL}):
        listed = ", ".join([*missing[:_UNDEFINED_SHOWN_MAX], *["..."][: len(missing) > _UNDEFINED_SHOWN_MAX]])
        error = Untestable(f"{name}: not defined: {listed}; a fragment is linked with nothing else")
        error.undefined = tuple(missing)
        raise error
    layout = _Layout(file, [_slot(f) for f in relocations if f.relocation.formula.of_got])
    if layout.end == IMAGE_PA:
        raise Untestable(f"{name}: no instruction and no data in it")
    _Linker(layout, defines, absolute).apply(relocations)
    content, size = bytes(layout.content), layout.end - IMAGE_PA
    zeroed = f"+{size - len(content)}" if size > len(content) else ""
    return Subject(
        name=Path(name).name,
        identity=hashlib.sha256(content + zeroed.encode()).hexdigest()[:16],
        segments=(Segment(IMAGE_PA, content, size),),
        symbols=Symbols.of(layout.symbols()),
        va_offset=VA_OFFSET,
        defines=MappingProxyType(dict(defines)),
        constants=tuple(layout.constants),
    )


_Slot = tuple[Symbol, int]  # one entry of the global offset table: symbol and addend


def _slot(entry: RelocationEntry) -> _Slot:
    return entry.symbol, entry.addend


class _Layout:
    """The PA of every section, slot and common symbol, from IMAGE_PA on, and the bytes there."""

    def __init__(self, file: ObjectFile, slots: Sequence[_Slot]) -> None:
        self.file = file
        self.sections: dict[int, int] = {}  # index: PA
        self.slots: dict[_Slot, int] = {}
        self.commons: dict[str, int] = {}
        self.content = bytearray()  # without zeroed data
        self.constants: list[range] = []  # PAs of what nobody writes
        self.end = IMAGE_PA
        loaded = sorted((s.rank, index) for index, s in enumerate(file.sections) if s.is_loaded)
        for rank, index in loaded:
            if rank is not Rank.ZEROED:
                section = file.sections[index]
                self._put_bytes(section.name, file.content(section), section.align)
                self.sections[index] = self.end - section.size
                if rank in (Rank.CODE, Rank.READ_ONLY):
                    self.constants.append(range(self.end - section.size, self.end))
        for slot in dict.fromkeys(slots):
            self._put_bytes(".got", bytes(8), 8)
            self.slots[slot] = self.end - 8
            self.constants.append(range(self.end - 8, self.end))
        for rank, index in loaded:
            if rank is Rank.ZEROED:
                section = file.sections[index]
                self.sections[index] = self._put(section.name, section.size, section.align)
        for symbol in file.symbols:
            if symbol.section == SHN_COMMON and symbol.name not in self.commons:
                self.commons[symbol.name] = self._put(symbol.name, symbol.size, symbol.value)

    def symbols(self) -> dict[str, int]:
        """Return name -> VA of every label; of two with one name the global one, else the first."""
        found: dict[str, int] = {}
        for symbol in sorted(self.file.symbols, key=lambda symbol: symbol.binding == STB_LOCAL):
            pa = self.place(symbol)
            if pa is None or symbol.kind in _NOT_PLACES or symbol.name.startswith(_LOCAL_NAMES):
                continue
            if symbol.name and " " not in symbol.name:
                found.setdefault(symbol.name, (pa + VA_OFFSET) % 2**64)
        return found

    def place(self, symbol: Symbol) -> int | None:
        """Return the PA of a symbol, or None when it is undefined, absolute, or in a section not loaded."""
        if symbol.section == SHN_COMMON:
            return self.commons[symbol.name]
        base = self.sections.get(symbol.section)
        return None if base is None else base + symbol.value

    def _put_bytes(self, what: str, data: bytes, align: int) -> None:
        pa = self._put(what, len(data), align)
        self.content += bytes(pa - IMAGE_PA - len(self.content)) + data

    def _put(self, what: str, size: int, align: int) -> int:
        # PA of `size` bytes behind everything so far.
        align = max(align, 1)
        if align & (align - 1):
            raise self.file.error(f"{what} has alignment {align}: must be a power of 2")
        pa = -(-self.end // align) * align
        if pa + size - IMAGE_PA > OBJECT_SIZE_MAX:
            end = f"{what} ends {pa + size - IMAGE_PA:#x} bytes behind the start"
            raise self.file.error(f"{end}: must be at most {OBJECT_SIZE_MAX:#x}")
        self.end = pa + size
        return pa


class _Address(NamedTuple):
    # The value of a symbol: a PA of the layout, or an absolute number.
    value: int
    moves: bool


class _Linker:
    """Applies relocations to the bytes of a layout."""

    def __init__(self, layout: _Layout, defines: Mapping[str, int], absolute: Absolute) -> None:
        self.layout, self.defines = layout, defines
        self.offset = VA_OFFSET if absolute == "va" else 0  # added to an absolute address

    def apply(self, relocations: Sequence[RelocationEntry]) -> None:
        """Put X of every relocation into its place, and fill the global offset table."""
        content = self.layout.content
        for slot, pa in self.layout.slots.items():
            address = self._address(slot[0])
            value = (0 if address is None else self._absolute(address) + slot[1]) % 2**64
            content[pa - IMAGE_PA : pa - IMAGE_PA + 8] = value.to_bytes(8, "little")
        for entry in relocations:
            pa, size = self.layout.sections[entry.section] + entry.offset, entry.relocation.size
            place = slice(pa - IMAGE_PA, pa - IMAGE_PA + size)
            old = int.from_bytes(content[place], "little")
            try:
                new = entry.relocation.patch(old, self._x(entry, pa))
            except OutOfReach as error:
                what = f"{self._where(entry)}: {entry.relocation.name} of {entry.symbol.name or 'a section'}"
                raise Untestable(f"{self.layout.file.name}: {what}: {error}") from None
            content[place] = new.to_bytes(size, "little")

    def _x(self, entry: RelocationEntry, pa: int) -> int:
        # X of AAELF64's table; the place is at `pa`.
        formula, page = entry.relocation.formula, -0x1000
        if formula.of_got:
            slot = self.layout.slots[_slot(entry)]
            if formula is Formula.GOT:
                return slot
            return (slot & page) - (pa & page) if formula is Formula.GOT_PAGE else slot - (self._got() & page)
        address = self._address(entry.symbol)
        if address is None:  # undefined and weak
            if formula is Formula.ABSOLUTE:
                return entry.addend
            here = pa + (4 if entry.relocation.is_branch else 0) + entry.addend
            return here - pa if formula is Formula.RELATIVE else (here & page) - (pa & page)
        if formula is Formula.ABSOLUTE:
            return self._absolute(address) + entry.addend
        target = address.value + entry.addend
        if not address.moves and abs(target - pa - VA_OFFSET) < abs(target - pa):
            pa += VA_OFFSET  # the target is in the kernel's half: code there runs at its VA
        return (target & page) - (pa & page) if formula is Formula.PAGE else target - pa

    def _absolute(self, address: _Address) -> int:
        return address.value + (self.offset if address.moves else 0)

    def _got(self) -> int:
        return min(self.layout.slots.values(), default=self.layout.end)

    def _address(self, symbol: Symbol) -> _Address | None:
        # None: undefined and weak. A relocation without a symbol has number 0, whose value is 0.
        if symbol.kind in (STT_TLS, STT_GNU_IFUNC):
            raise Untestable(
                f"{self.layout.file.name}: {symbol.name} is thread-local or an ifunc: neither is linked here"
            )
        if symbol.section == SHN_ABS:
            return _Address(symbol.value, moves=False)
        if symbol.section == SHN_UNDEF:
            if symbol.name == _GOT_SYMBOL:
                return _Address(self._got(), moves=True)
            if symbol.name in self.defines:
                return _Address(self.defines[symbol.name] % 2**64, moves=False)
            return None if symbol.binding == STB_WEAK else _Address(0, moves=False)
        pa = self.layout.place(symbol)
        if pa is None:
            raise self.layout.file.error(
                f"{symbol.name or 'a symbol'} is in section {symbol.section}: that is not loaded"
            )
        return _Address(pa, moves=True)

    def _where(self, entry: RelocationEntry) -> str:
        return f"{self.layout.file.sections[entry.section].name}+{entry.offset:#x}"
