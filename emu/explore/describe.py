"""The next operation of an actor, found without doing it."""

from __future__ import annotations

from emu.arch import a64
from emu.cpu.pe import PE
from emu.errors import Untestable
from emu.explore.cells import split
from emu.explore.local_state import Action
from emu.machine import Machine
from emu.machine.actor import location
from emu.operation import (
    Copy,
    Invisible,
    MemoryAccess,
    Operation,
    Reboot,
)

_LINE = 64  # bytes: the smallest line of a memory model; an access that crosses one is one to each


def describe(machine: Machine, cpu: int, *, attributes: bool) -> Action:
    """Return the next operation of ``cpu``, which can run.

    :param attributes: memory attributes matter; else every access of a PE is told as cacheable
    :raises Untestable: it is one that cannot be explored
    """
    actor = machine.actors[cpu]
    if actor.task is None:
        action = Action(_of_pe(machine, actor.pe, attributes), actor.pe.pc)
        if not all(access.cacheable for access in action.accesses):
            word = machine.engine.word(actor.pe.pc)
            action.lacks_monitor = word is not None and a64.needs_monitor(word)
        return action
    where, operation = location(actor.task), actor.pending
    if isinstance(operation, Copy | Reboot):
        raise Untestable(f"{where}: a second boot cannot be explored")
    return Action(Invisible() if operation is None else operation, where)


def _of_pe(machine: Machine, pe: PE, attributes: bool) -> Operation:
    if pe.pc in machine.landings:
        return Invisible()
    machine.landings.pass_label(pe)
    conduit = machine.power.conduit
    operation = machine.engine.next_operation(pe, conduit=conduit, attributes=attributes)
    if isinstance(operation, MemoryAccess):
        return MemoryAccess(tuple(part for access in operation.accesses for part in split(access, _LINE)))
    return operation
