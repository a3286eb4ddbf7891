"""The next operation of an actor, found without doing it."""

from __future__ import annotations

from collections.abc import Iterator

from emu.cpu.pe import PE
from emu.errors import Untestable
from emu.explore.local_state import Action
from emu.machine import Machine
from emu.machine.actor import location
from emu.operation import (
    Access,
    Copy,
    Invisible,
    MemoryAccess,
    Operation,
    Reboot,
)


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
    if pe.pc in machine.landings:
        return Invisible()
    conduit = machine.power.conduit
    operation = machine.engine.next_operation(pe, conduit=conduit, attributes=attributes)
    if isinstance(operation, MemoryAccess):
        return MemoryAccess(tuple(part for access in operation.accesses for part in _by_lines(access)))
    return operation


def _by_lines(access: Access) -> Iterator[Access]:
    # An access that crosses a line of 64 bytes, the smallest there are, as one to each.
    pa, size, value = access.pa, access.size, access.value
    while size:
        part = min(size, 64 - pa % 64)
        yield access._replace(pa=pa, size=part, value=value & (1 << 8 * part) - 1)
        pa, size, value = pa + part, size - part, value >> 8 * part
