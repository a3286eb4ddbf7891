"""The VA of an access that an engine tells by its PA alone."""

from __future__ import annotations

from emu.arch.operand import access_va
from emu.cpu.pe import PE, operand

_WIDTH_MAX = 64  # bytes that one instruction accesses, from its first address on: DC ZVA, LD4


def access_address(pe: PE, word: int, pc: int) -> int:
    """Return the VA (u64) of the first byte that the load, store or DC ZVA ``word`` at ``pc`` accesses."""
    if word >> 24 == 0xD5:
        return operand(pe.x, word & 31) & -64
    return access_va(word, pc, list(pe.x))


def va_of(pe: PE, word: int, pc: int, pa: int, *, is_store: bool) -> int:
    """Return the VA of the access to ``pa`` that ``word`` at ``pc``, next on ``pe``, makes.

    Registers are as they are before the instruction.
    """
    first = access_address(pe, word, pc)
    at = pe.translate(first, is_store=is_store)
    if at is not None and 0 <= pa - at < _WIDTH_MAX:
        return first + pa - at & 2**64 - 1
    later = -first & 0xFFF  # bytes to the next page
    return first + later & 2**64 - 1 if later < _WIDTH_MAX else first
