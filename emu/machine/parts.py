"""Instructions that others may see half done: LDP, STP and their like, a part at a time.

A PE makes the whole instruction in one step, unless a schedule says that it makes one part alone. Then the
parts that are made are in its actor (:attr:`emu.machine.actor.Actor.made`), its registers and PC are as they
were before, and the next step makes all that is left. An exception of a part is taken before any is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.stops import STEP_LIMIT, EngineStop
from emu.machine.actor import Actor, Grain
from emu.operation import Access, Invisible, LoadExclusive, Operation
from emu.semantics.parts import Made, operation_of, parts_of

if TYPE_CHECKING:
    from emu.machine.machine import Machine


class Parts:
    """Makes the parts of the PEs of ``machine``.

    :ivar alone: the number of the part that the step under way makes alone; -1: it is no such step
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.alone = -1

    def of(self, actor: Actor, *, attributes: bool = False) -> tuple[Operation, tuple[Access, ...]]:
        """Return what a PE does next and the parts of that; () when it is made at once or not to its end.

        :param attributes: find out which accesses are cacheable
        """
        machine, pe = self._machine, actor.pe
        if pe.pc in machine.landings:
            return Invisible(), ()
        machine.landings.pass_label(pe)
        engine = machine.engine
        operation = engine.next_operation(pe, conduit=machine.power.conduit, attributes=attributes)
        parts = parts_of(operation)
        if parts and not actor.made and not engine.in_parts.completes(pe, parts):
            parts = ()
        return operation, parts

    def can_make(self, cpu: int, number: int) -> bool:
        """Tell whether a part of the next instruction of ``cpu`` can be made alone: another one is left."""
        actor = self._machine.actors[cpu]
        if actor.task is not None:
            return False
        _, parts = self.of(actor)
        left = set(range(len(parts))) - {each.number for each in actor.made}
        return number in left and len(left) > 1

    def make(self, actor: Actor) -> None:
        """Make the part ``alone`` of the next instruction of a PE."""
        operation, parts = self.of(actor)
        self._make(actor, operation, parts, self.alone)

    def _make(self, actor: Actor, operation: Operation, parts: tuple[Access, ...], number: int) -> None:
        part = operation_of(parts, actor.made, number, operation)
        arms = part.armed if isinstance(part, LoadExclusive) else -1
        value = self._machine.engine.in_parts.make(actor.pe, parts[number], arms)
        actor.made = tuple(sorted((*actor.made, Made(number, value))))

    def finish(self, actor: Actor) -> EngineStop:
        """Make all parts that are left and the rest of the instruction, and go on to the end of the grain."""
        engine, pe = self._machine.engine, actor.pe
        operation, parts = self.of(actor)
        done = {each.number for each in actor.made}
        for number in range(len(parts)):
            if number not in done:
                self._make(actor, operation, parts, number)
        values, actor.made = [each.value for each in actor.made], ()
        if not parts:  # its translation has changed since, and it raises an exception
            return engine.step(pe)
        stop = engine.in_parts.complete(pe, parts, values)
        if stop is STEP_LIMIT and self._machine.grain is Grain.OPERATION and not engine.at_operation(pe):
            stop = engine.run_operation(pe)
        return stop
