"""The next operation of an actor, found without doing it."""

from __future__ import annotations

from collections.abc import Iterator

from emu.actor import location
from emu.arch import a64
from emu.arch.a64 import Class
from emu.cpu.pe import PE
from emu.errors import Untestable
from emu.explore.local_state import Action
from emu.machine import Machine
from emu.operation import (
    Access,
    CacheOp,
    Copy,
    FirmwareCall,
    Invisible,
    LoadExclusive,
    MemoryAccess,
    Operation,
    Reboot,
    SendEvent,
    SendEventLocal,
    StoreExclusive,
    WaitForEvent,
)

_SMC, _HVC, _CALL_MASK = 0xD400_0003, 0xD400_0002, 0xFFE0_001F
_EVENTS: dict[Class, Operation] = {
    Class.WFE: WaitForEvent(),
    Class.SEV: SendEvent(),
    Class.SEVL: SendEventLocal(),
}


def describe(machine: Machine, cpu: int, *, attributes: bool) -> Action:
    """Return the next operation of ``cpu``, which can run.

    :param attributes: memory attributes matter; else every access of a PE is told as cacheable
    :raises Untestable: it is one that cannot be explored
    """
    actor = machine.actors[cpu]
    if actor.task is None:
        return Action(_of_pe(machine, actor.pe, attributes), actor.pe.pc)
    where, operation = location(actor.task), actor.pending
    if isinstance(operation, Copy | Reboot):
        raise Untestable(f"{where}: a second boot cannot be explored")
    return Action(Invisible() if operation is None else operation, where)


def _of_pe(machine: Machine, pe: PE, attributes: bool) -> Operation:
    engine, pc = machine.engine, pe.pc
    if machine.is_landing(pc) or not engine.at_operation(pe):
        return Invisible()
    word = engine.word(pc)
    assert word is not None, "it is an operation"
    kind = a64.classify(word)
    if kind in _EVENTS:
        return _EVENTS[kind]
    if kind is Class.MEMORY:
        accesses = _accesses(machine, pe, attributes)
        return MemoryAccess(accesses) if accesses else Invisible()
    if kind is Class.ZERO:
        return _zero(machine, pe, word, attributes)
    if kind in (Class.LOAD_EXCLUSIVE, Class.STORE_EXCLUSIVE):
        return _exclusive(machine, pe, word, attributes)
    if kind is Class.CACHE:
        pa = pe.translate(_register(pe, word))
        if pa is not None and machine.memory.contains(pa, 1):
            return CacheOp(word, pa)
    conduit = {_SMC: "smc", _HVC: "hvc"}.get(word & _CALL_MASK)
    if conduit and conduit == machine.firmware_conduit:
        return FirmwareCall(*(pe.x[number] for number in range(4)))
    return Invisible()


def _register(pe: PE, word: int) -> int:
    return pe.x[word & 31] if word & 31 != 31 else 0


def _accesses(machine: Machine, pe: PE, attributes: bool) -> tuple[Access, ...]:
    # Nothing when it raises an exception.
    cacheable = machine.cacheable_access(pe, pe.pc) if attributes else True
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


def _zero(machine: Machine, pe: PE, word: int, attributes: bool) -> Operation:
    # DC ZVA: 64 bytes.
    pa = pe.translate(_register(pe, word) & -64)
    if pa is None or not pe.mmu_on or not machine.memory.contains(pa, 64):
        return Invisible()
    cacheable = machine.cacheable_access(pe, pe.pc) if attributes else True
    stores = tuple(Access(pa + at, 8, True, 0, cacheable) for at in range(0, 64, 8))
    return MemoryAccess(stores)


def _exclusive(machine: Machine, pe: PE, word: int, attributes: bool) -> Operation:
    base = pe.x[word >> 5 & 31]
    pa = pe.translate(base)
    size, pair, is_load = 1 << (word >> 30), word >> 21 & 1, word >> 22 & 1
    if pa is None or base % (size << pair) or not machine.memory.contains(pa, size << pair):
        return Invisible()
    cacheable = machine.cacheable_access(pe, pe.pc) if attributes else True
    registers = (word & 31, word >> 10 & 31)[: 1 + pair]
    values = [pe.x[number] if number != 31 else 0 for number in registers]
    accesses = tuple(
        Access(pa + size * index, size, not is_load, value & (1 << 8 * size) - 1, cacheable)
        for index, value in enumerate(values)
    )
    return LoadExclusive(accesses) if is_load else StoreExclusive(accesses)
