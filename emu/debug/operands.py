"""What an instruction refers to: the address that ADRP and its like make, and what the next one will access.

What stands behind ``;`` in a disassembly.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.arch.operand import access_va, transfers
from emu.arch.taken import is_taken
from emu.cpu.pe import PE, operand
from emu.cpu.sysregs.rows import TABLE
from emu.debug.target import DebugTarget
from emu.operation import Kind

_U64 = 2**64 - 1
_BY_REGISTER = (0, 1, 2)  # BR, BLR, RET
_ACCESSES = (Other.ACCESS, Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE)
Load = Callable[[int, int], bytes]  # what a CPU would load from an address, of so many bytes
Named = Callable[[int], str]  # the name of what is at an address (VA or PA); nothing: it has none


def _page_of(word: int, va: int) -> int | None:
    # The address that an ADRP makes.
    return a64.pc_relative(word, va) if a64.is_adrp(word) else None


def _offset_in_page(word: int, register: int) -> int | None:
    # What an ADD, or a load or store, adds to the page in `register`.
    if word >> 5 & 31 != register:
        return None
    if word & 0xFFC0_0000 == 0x9100_0000:  # ADD (immediate), 64 bits, not shifted
        return word >> 10 & 0xFFF
    if word & 0x3B00_0000 == 0x3900_0000 and a64.classify(word) in _ACCESSES:  # unsigned offset
        return access_va(word, 0, [0] * 32)
    return None


def referred(words: Callable[[int], int | None], va: int) -> int | None:
    """Return the address that the instruction at ``va`` makes or refers to, whatever registers hold.

    Of an ADRP and the ADD, load or store behind it, that is the sum; of an ADRP alone the page.

    :param words: returns the word at a VA
    """
    word = words(va)
    if word is None:
        return None
    page = _page_of(word, va)
    if page is not None:
        behind = words(va + 4)
        offset = None if behind is None else _offset_in_page(behind, word & 31)
        return page if offset is None else page + offset & _U64
    before = words(va - 4)
    if before is not None:
        page = _page_of(before, va - 4)
        offset = _offset_in_page(word, before & 31)
        if page is not None and offset is not None:
            return page + offset & _U64
    if word & 0x3B00_0000 == 0x1800_0000 and a64.classify(word) in _ACCESSES:  # literal
        return access_va(word, va, [0] * 32)
    return None


class NextInstruction:
    """What the instruction at the PC of a CPU is about to do.

    :param load: reads memory as the CPU would
    :param named: names addresses
    """

    def __init__(self, target: DebugTarget, cpu: int, load: Load, named: Named) -> None:
        self._target = target
        self._cpu = cpu
        self._load = load
        self._named = named

    def words(self, word: int) -> str:
        """Return in words what ``word``, which is at the PC, will access, read, or branch to; or nothing."""
        pe, kind = self._target.pe(self._cpu), a64.classify(word)
        if kind in _ACCESSES:
            return self._access(pe, word)
        if kind is Kind.CACHE and a64.is_by_va(word):
            return self._place(operand(pe.x, word & 31))
        if kind in (Other.MRS, Other.MSR):
            return self._register(word)
        if word & 0xFE1F_FC1F == 0xD61F_0000 and word >> 21 & 15 in _BY_REGISTER:
            return self._place(operand(pe.x, word >> 5 & 31))
        if kind is Other.ERET and pe.el:
            return self._place(pe.system_register(sysreg.ELR_EL1 if pe.el == 1 else sysreg.ELR_EL2))
        taken = is_taken(word, list(pe.x), pe.nzcv)
        return "" if taken is None else "taken" if taken else "not taken"

    def _place(self, address: int) -> str:
        name = self._named(address)
        return f"{address:#x} {name}" if name else f"{address:#x}"

    def _access(self, pe: PE, word: int) -> str:
        address = access_va(word, pe.pc, list(pe.x))
        parts = transfers(word)
        size = sum(each.size for each in parts) or 8
        found = self._load(address, size)
        if len(found) < size:
            return f"[{self._place(address)}], no memory there"
        values, at = [], 0
        for each in parts:
            values.append(f"{int.from_bytes(found[at : at + each.size], 'little'):#x}")
            at += each.size
        return f"[{self._place(address)}] is {', '.join(values)}" if values else f"[{self._place(address)}]"

    def _register(self, word: int) -> str:
        row = TABLE.get(a64.system_register(word))
        value = None if row is None else self._target.system.value_or_none(self._cpu, row.name)
        return "" if row is None or value is None else f"{row.name} is {value:#x}"
