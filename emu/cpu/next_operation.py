"""What a PE does next, from its word and registers: nothing is executed where the word can be decoded."""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import a64
from emu.arch.a64 import Class, Other
from emu.arch.operand import Transfer, access_va, transfers
from emu.cpu.attributes import access_is_cacheable
from emu.cpu.pe import PE, operand
from emu.cpu.traps import fp_trap_el, wfe_trap_el
from emu.memory import Memory
from emu.operation import (
    Access,
    Barrier,
    CacheOp,
    FirmwareCall,
    Invisible,
    Kind,
    LoadExclusive,
    MemoryAccess,
    Operation,
    Ordering,
    SendEvent,
    SendEventLocal,
    StoreExclusive,
    WaitForEvent,
)

_SMC = 1  # bit 0: SMC, else HVC
_EVENTS: dict[Class, Operation] = {
    Kind.SEV: SendEvent(),
    Kind.SEVL: SendEventLocal(),
}
_OF_ACCESSES: dict[Class, Callable[[tuple[Access, ...]], Operation]] = {
    Other.ACCESS: MemoryAccess,
    Other.ZERO: MemoryAccess,
    Kind.LOAD_EXCLUSIVE: LoadExclusive,
    Kind.STORE_EXCLUSIVE: StoreExclusive,
}
_ORDERED = 1 << 15  # o0 of exclusives, LDAR and STLR


def decode(
    pe: PE,
    word: int,
    memory: Memory,
    execute: Callable[[], tuple[Access, ...]],
    *,
    conduit: str,
    attributes: bool,
) -> Operation:
    """Return the operation of ``word``, which is at the PC of ``pe`` and of a class that others can observe.

    :param execute: gives the accesses of the word by executing it, nothing when that raises an exception
    :param conduit: of the firmware that answers calls
    :param attributes: find out which accesses are cacheable
    """
    kind = a64.classify(word)
    if kind is Kind.WFE:
        return WaitForEvent(traps=bool(wfe_trap_el(pe)))
    if kind in _EVENTS:
        return _EVENTS[kind]
    if kind in _OF_ACCESSES:
        accesses = _accesses(kind, pe, word, memory, execute)
        if not accesses:
            return Invisible()
        if attributes and not access_is_cacheable(pe, word, pe.pc, memory):
            accesses = tuple(access._replace(cacheable=False) for access in accesses)
        return _OF_ACCESSES[kind](accesses)
    if kind is Kind.CACHE:
        pa = pe.translate(operand(pe.x, word & 31))
        return CacheOp(word, pa) if pa is not None and memory.contains(pa, 1) else Invisible()
    if kind is Kind.BARRIER:
        return Barrier(word)
    if kind is Kind.CALL and conduit == ("smc" if word & _SMC else "hvc"):
        return FirmwareCall(*(pe.x[number] for number in range(4)))
    return Invisible()


def _accesses(
    kind: Class, pe: PE, word: int, memory: Memory, execute: Callable[[], tuple[Access, ...]]
) -> tuple[Access, ...]:
    # Nothing when the word raises an exception.
    if kind is Other.ACCESS:
        found = decoded_accesses(pe, word, memory)
        return execute() if found is None else found
    return _zeroed(pe, word, memory) if kind is Other.ZERO else _exclusives(pe, word, memory)


def decoded_accesses(pe: PE, word: int, memory: Memory) -> tuple[Access, ...] | None:
    """Return the accesses of a load or store that is no exclusive; None when only executing it tells.

    That is where it may raise an exception (translation, alignment, a trap of vector registers), and where
    the word is not decoded.
    """
    parts = transfers(word)
    if not parts or (a64.uses_fp(word) and fp_trap_el(pe)):
        return None
    va, found = access_va(word, pe.pc, list(pe.x)), []
    if va & 15 and a64.is_quad_access(word):
        return None
    if pe.sp & 15 and a64.is_by_sp(word):  # where SCTLR.SA checks it
        return None
    ordering = Ordering.NONE
    if word & 0x3F80_0000 == 0x0880_0000:
        ordering = Ordering.ACQUIRE if word >> 22 & 1 else Ordering.RELEASE
    for part in parts:
        pa = None
        if not va & (part.size - 1) and va >> 55 in (0, 0x1FF):  # aligned, and no tag
            pa = pe.translate(va, is_store=part.is_store)
        if pa is None or not memory.contains(pa, part.size):
            return None
        found.append(_access(pe, pa, part, ordering))
        va = va + part.size & 2**64 - 1
    return tuple(found)


def _access(pe: PE, pa: int, part: Transfer, ordering: Ordering) -> Access:
    value = 0
    if part.is_store and part.is_vector:
        value = pe.vector_register(part.register) >> 8 * part.at & (1 << 8 * part.size) - 1
    elif part.is_store:
        value = operand(pe.x, part.register) & (1 << 8 * part.size) - 1
    return Access(pa, part.size, part.is_store, value, ordering=ordering)


def _exclusives(pe: PE, word: int, memory: Memory) -> tuple[Access, ...]:
    # An exclusive; nothing when it raises an exception.
    parts = transfers(word)
    width = sum(part.size for part in parts)
    va = access_va(word, pe.pc, list(pe.x))
    pa = pe.translate(va, is_store=parts[0].is_store) if parts and va % width == 0 else None
    if pa is None or not memory.contains(pa, width):
        return ()
    ordering = Ordering.NONE
    if word & _ORDERED:
        ordering = Ordering.RELEASE if parts[0].is_store else Ordering.ACQUIRE
    return tuple(_access(pe, pa + part.size * index, part, ordering) for index, part in enumerate(parts))


def _zeroed(pe: PE, word: int, memory: Memory) -> tuple[Access, ...]:
    # DC ZVA: 64 bytes.
    pa = pe.translate(operand(pe.x, word & 31) & -64, is_store=True)
    if pa is None or not pe.mmu_on or not memory.contains(pa, 64):
        return ()
    return tuple(Access(pa + at, 8, True) for at in range(0, 64, 8))
