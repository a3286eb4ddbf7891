"""The next operation of an actor, found without doing it."""

from __future__ import annotations

from emu.arch import a64
from emu.cpu.attributes import has_global_monitor
from emu.cpu.faulting_address import access_address
from emu.errors import Untestable
from emu.explore.cells import split
from emu.explore.local_state import Action
from emu.machine import Machine
from emu.machine.actor import Actor, location
from emu.operation import Access, Copy, Invisible, MemoryAccess, Operation, Reboot
from emu.semantics.parts import operation_of, rest_of

_LINE = 64  # bytes: the smallest line of a memory model; an access that crosses one is one to each


def describe(machine: Machine, cpu: int, *, attributes: bool) -> Action:
    """Return the next operation of ``cpu``, which can run.

    :param attributes: memory attributes matter; else every access of a PE is told as cacheable
    :raises Untestable: it is one that cannot be explored
    """
    actor = machine.actors[cpu]
    if actor.task is None:
        action = _of_pe(machine, actor, attributes)
        pe = actor.pe
        looks = attributes or machine.interconnect.looks_for_monitors
        word = machine.engine.word(pe.pc) if looks and action.accesses else None
        if word is not None and a64.needs_monitor(word):
            at = access_address(pe, word, pe.pc)
            action.lacks_monitor = not has_global_monitor(pe, at, machine.memory.u64)
        return action
    where, operation = location(actor.task), actor.pending
    if isinstance(operation, Copy | Reboot):
        raise Untestable(f"{where}: a second boot cannot be explored")
    return Action(Invisible() if operation is None else operation, where)


def _of_pe(machine: Machine, actor: Actor, attributes: bool) -> Action:
    pc = actor.pe.pc
    operation, parts = machine.parts.of(actor, attributes=attributes)
    action, done = Action(_left_of(actor, operation, parts), pc), {each.number for each in actor.made}
    left = [number for number in range(len(parts)) if number not in done]
    if len(left) > 1:
        action.apart = tuple(
            (number, Action(operation_of(parts, actor.made, number, operation), pc)) for number in left
        )
    return action


def _left_of(actor: Actor, operation: Operation, parts: tuple[Access, ...]) -> Operation:
    # What a step does that makes all that is left.
    if actor.made:
        return rest_of(parts, actor.made)
    if isinstance(operation, MemoryAccess):
        return MemoryAccess(tuple(part for access in operation.accesses for part in split(access, _LINE)))
    return operation
