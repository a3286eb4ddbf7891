"""The transition of each operation: what it does to the system state, what it gives, what it stores.

The caller loads first: :func:`loads` says what, and the memory model gives the values. It then applies
:func:`perform`, and makes the stores that come back through the memory model. Firmware calls, and what ends
or restarts a boot, are the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emu.operation import (
    Access,
    AtomicUpdate,
    Load,
    LoadExclusive,
    LoadUntil,
    MemoryAccess,
    Operation,
    Poll,
    SendEvent,
    SendEventLocal,
    SendInterrupt,
    Store,
    StoreExclusive,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.semantics import events, interrupts, monitors
from emu.semantics.state import SystemState


class Effect(NamedTuple):
    """What an operation comes to.

    :ivar result: what its actor gets; of WFE and WFI whether the actor goes on
    :ivar stores: to be made in this order; monitors have taken notice of them already
    """

    state: SystemState
    result: Any = None
    stores: tuple[Access, ...] = ()


def accesses(operation: Operation) -> tuple[Access, ...]:
    """Return the loads and stores of an operation, in program order; nothing when it has none.

    An atomic update is one access that stores, and that loads the old value too (:func:`loads`).
    """
    match operation:
        case Load(pa, size, cacheable, plain):
            return (Access(pa, size, False, 0, cacheable, plain),)
        case Store(pa, value, size, cacheable, plain):
            return (Access(pa, size, True, value & (1 << 8 * size) - 1, cacheable, plain),)
        case MemoryAccess(found) | LoadExclusive(found) | StoreExclusive(found):
            return found
        case AtomicUpdate(pa, _, new, size):
            return (Access(pa, size, True, new & (1 << 8 * size) - 1),)
        case LoadUntil(pa, size) | Poll(pa, size):
            return (Access(pa, size, False),)
    return ()


def loads(operation: Operation) -> tuple[Access, ...]:
    """Return the accesses whose values :func:`perform` wants."""
    found = accesses(operation)
    if isinstance(operation, AtomicUpdate):
        return found
    return tuple(access for access in found if not access.is_store)


def is_over(operation: LoadUntil | Poll, value: int) -> bool:
    """Tell whether ``value`` ends the wait."""
    return value == operation.value or (operation.value is None and value != 0)


def perform(state: SystemState, cpu: int, operation: Operation, loaded: Sequence[int] = ()) -> Effect:
    """Return the effect of ``operation`` by ``cpu``.

    :param loaded: the values (unsigned) of :func:`loads`, in order
    """
    match operation:
        case Load() | LoadUntil() | Poll():
            return Effect(state, loaded[0])
        case Store():
            return _stored(state, cpu, accesses(operation))
        case MemoryAccess(found):
            stores = tuple(access for access in found if access.is_store)
            return _stored(state, cpu, stores)._replace(result=value_of(loaded))
        case AtomicUpdate():
            if operation.expected is not None and loaded[0] != operation.expected:
                return Effect(state, loaded[0])
            return _stored(state, cpu, accesses(operation))._replace(result=loaded[0])
        case LoadExclusive(found, armed):
            return Effect(monitors.arm(state, cpu, armed if armed >= 0 else found[0].pa), value_of(loaded))
        case StoreExclusive(found):
            passes = monitors.passes(state, cpu, found[0].pa)
            state = monitors.disarm(state, cpu)
            return _stored(state, cpu, found)._replace(result=True) if passes else Effect(state, False)
        case SendEvent():
            return Effect(events.send_event(state))
        case SendEventLocal():
            return Effect(events.send_event_local(state, cpu))
        case WaitForEvent(traps=True) if not events.has_event(state, cpu):
            return Effect(state, False)
        case WaitForEvent():
            return Effect(*events.wait_for_event(state, cpu))
        case SendInterrupt(target):
            return Effect(interrupts.send_interrupt(state, target))
        case WaitForInterrupt():
            return Effect(*interrupts.wait_for_interrupt(state, cpu))
    return Effect(state)


def value_of(loaded: Sequence[int]) -> Any:
    """Return what loads give their actor: one value, a tuple of several, None for none."""
    if not loaded:
        return None
    return loaded[0] if len(loaded) == 1 else tuple(loaded)


def _stored(state: SystemState, cpu: int, stores: tuple[Access, ...]) -> Effect:
    for access in stores:
        state = monitors.stored(state, cpu, access.pa, access.size)
    return Effect(state, None, stores)
