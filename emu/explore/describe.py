"""The next operation of an actor, as an :class:`emu.explore.local_state.Action`, found without doing it."""

from __future__ import annotations

from collections.abc import Iterator

from emu.actor import location
from emu.arch import a64
from emu.arch.a64 import Class
from emu.cpu.pe import PE
from emu.errors import Untestable
from emu.explore.local_state import Access, Action, Verb
from emu.machine import Machine
from emu.models import caches
from emu.operation import (
    AtomicUpdate,
    CacheOp,
    Copy,
    Delay,
    FirmwareCall,
    Load,
    LoadUntil,
    Poll,
    Reboot,
    SendEvent,
    SendInterrupt,
    Store,
    WaitForEvent,
    WaitForInterrupt,
)

_SMC, _HVC, _CALL_MASK = 0xD400_0003, 0xD400_0002, 0xFFE0_001F
_U64 = 2**64 - 1
_PLAIN_VERBS = {
    Class.WFE: Verb.WFE,
    Class.SEV: Verb.SEV,
    Class.SEVL: Verb.SEVL,
}


def describe(machine: Machine, cpu: int, *, cached: bool) -> Action:
    """Return the next operation of ``cpu``, which can run.

    :param cached: memory attributes matter, and maintenance does something
    :raises Untestable: it is one that cannot be explored
    """
    actor = machine.actors[cpu]
    if actor.task is not None:
        return _of_task(machine, cpu, cached)
    return _of_pe(machine, actor.pe, cached)


def _of_task(machine: Machine, cpu: int, cached: bool) -> Action:
    actor = machine.actors[cpu]
    where = location(actor.task)
    match actor.pending:
        case Load(pa, size, cacheable, plain):
            return Action(Verb.ACCESS, (Access(pa, size, False, 0, cacheable, plain),), where=where)
        case Store(pa, value, size, cacheable, plain):
            value &= (1 << 8 * size) - 1
            return Action(Verb.ACCESS, (Access(pa, size, True, value, cacheable, plain),), where=where)
        case AtomicUpdate(pa, expected, new, size):
            return Action(Verb.UPDATE, (Access(pa, size, True, new),), (expected, new), where)
        case LoadUntil(pa, size, value):
            return Action(Verb.UNTIL, (Access(pa, size, False),), (value,), where)
        case Poll(pa, size, value):
            return Action(Verb.POLL, (Access(pa, size, False),), (value,), where)
        case CacheOp(word, pa) if cached and caches.is_by_va(word):
            return Action(Verb.MAINTAIN, (Access(pa, 1, True),), (word,), where)
        case SendEvent():
            return Action(Verb.SEV, where=where)
        case WaitForEvent():
            return Action(Verb.WFE, where=where)
        case SendInterrupt(target):
            return Action(Verb.SEND, detail=(target,), where=where)
        case WaitForInterrupt():
            return Action(Verb.WFI, where=where)
        case FirmwareCall(function_id, x1, x2, x3):
            return Action(Verb.CALL, detail=(function_id, x1, x2, x3), where=where)
        case Delay():
            return Action(Verb.DELAY, where=where)
        case Copy() | Reboot():
            raise Untestable(f"{where}: a second boot cannot be explored")
        case _:
            return Action(Verb.LOCAL, where=where)


def _of_pe(machine: Machine, pe: PE, cached: bool) -> Action:
    engine, pc = machine.engine, pe.pc
    if machine.is_landing(pc) or not engine.at_operation(pe):
        return Action(Verb.LOCAL, where=pc)
    word = engine.word(pc)
    assert word is not None, "it is an operation"
    kind = a64.classify(word)
    if kind in _PLAIN_VERBS:
        return Action(_PLAIN_VERBS[kind], where=pc)
    if kind is Class.MEMORY:
        accesses = _accesses(machine, pe, cached)
        return Action(Verb.ACCESS if accesses else Verb.LOCAL, accesses, where=pc)
    if kind is Class.ZERO:
        return _zero(machine, pe, word, cached)
    if kind in (Class.LOAD_EXCLUSIVE, Class.STORE_EXCLUSIVE):
        return _exclusive(machine, pe, word, cached)
    if kind is Class.CACHE and cached and caches.is_by_va(word):
        pa = pe.translate(_register(pe, word))
        if pa is not None and machine.memory.contains(pa, 1):
            return Action(Verb.MAINTAIN, (Access(pa, 1, True),), (word,), pc)
    conduit = {_SMC: "smc", _HVC: "hvc"}.get(word & _CALL_MASK)
    if conduit and conduit == machine.firmware_conduit:
        return Action(Verb.CALL, detail=tuple(pe.x[number] for number in range(4)), where=pc)
    return Action(Verb.LOCAL, where=pc)


def _register(pe: PE, word: int) -> int:
    return pe.x[word & 31] if word & 31 != 31 else 0


def _accesses(machine: Machine, pe: PE, cached: bool) -> tuple[Access, ...]:
    # Nothing when it raises an exception.
    cacheable = machine.cacheable_access(pe, pe.pc) if cached else True
    found: list[Access] = []
    for pa, size, is_store, value, *_ in machine.engine.preview(pe):
        found.extend(_by_lines(pa, size, is_store, value, cacheable))
    return tuple(found)


def _by_lines(pa: int, size: int, is_store: bool, value: int, cacheable: bool) -> Iterator[Access]:
    # An access that crosses a line of 64 bytes, the smallest there are, as one to each.
    while size:
        part = min(size, 64 - pa % 64)
        stored = value & (1 << 8 * part) - 1 if is_store else 0
        yield Access(pa, part, is_store, stored, cacheable)
        pa, size, value = pa + part, size - part, value >> 8 * part


def _zero(machine: Machine, pe: PE, word: int, cached: bool) -> Action:
    # DC ZVA: 64 bytes.
    pa = pe.translate(_register(pe, word) & -64)
    if pa is None or not pe.mmu_on or not machine.memory.contains(pa, 64):
        return Action(Verb.LOCAL, where=pe.pc)
    cacheable = machine.cacheable_access(pe, pe.pc) if cached else True
    stores = tuple(Access(pa + at, 8, True, 0, cacheable) for at in range(0, 64, 8))
    return Action(Verb.ACCESS, stores, where=pe.pc)


def _exclusive(machine: Machine, pe: PE, word: int, cached: bool) -> Action:
    base = pe.x[word >> 5 & 31]
    pa = pe.translate(base)
    size, pair, is_load = 1 << (word >> 30), word >> 21 & 1, word >> 22 & 1
    if pa is None or base % (size << pair) or not machine.memory.contains(pa, size << pair):
        return Action(Verb.LOCAL, where=pe.pc)
    cacheable = machine.cacheable_access(pe, pe.pc) if cached else True
    registers = (word & 31, word >> 10 & 31)[: 1 + pair]
    values = [pe.x[number] if number != 31 else 0 for number in registers]
    accesses = tuple(
        Access(pa + size * index, size, not is_load, value & (1 << 8 * size) - 1, cacheable)
        for index, value in enumerate(values)
    )
    return Action(Verb.LOAD_EXCLUSIVE if is_load else Verb.STORE_EXCLUSIVE, accesses, where=pe.pc)
