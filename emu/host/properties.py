"""Properties of a case, resolved by the names of its subject, and watched on the machine that runs it.

A machine stops at the labels that they ask for, whatever its grain. What they ask of every state is looked at
after each step, so that such a case runs by operations at least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.case import Case
from emu.errors import InvalidCase
from emu.machine import Machine
from emu.machine.actor import Grain, State
from emu.memory import Memory
from emu.operation import Kind
from emu.properties.evaluate import broken_at_end, broken_in, holds
from emu.properties.expression import Expression
from emu.properties.language import parse_outcomes, parse_property
from emu.properties.resolve import Resolved, all_labels, resolve
from emu.properties.sources import texts_of_option
from emu.subject import Subject
from emu.subject.annotations import find_annotations
from emu.trace import Trace

_OF_ALL_STATES = ("never", "eventually")


@dataclass(frozen=True, slots=True)
class SubjectNames:
    """The names of a subject (:class:`emu.properties.resolve.Names`)."""

    subject: Subject
    hwids: Sequence[int]
    to_pa: Callable[[int], int]
    memory: Memory

    def address(self, symbol: str) -> int | None:
        """Return the VA of a symbol."""
        return self.subject.symbols.address(symbol)

    def pa_of(self, va: int) -> int | None:
        """Return the PA of a VA of the subject, or of a PA as it is."""
        pa = self.to_pa(va) if va >> 63 else va
        return pa if self.memory.contains(pa, 1) else None


def properties_of(case: Case, names: SubjectNames) -> list[Resolved]:
    """Return the properties of a case: those of its subject's comments, then its own.

    :raises InvalidCase: FILE:LINE or ``asserts``: a text that is none, or a name that is not there
    """
    texts: list[tuple[str, str]] = []
    path = Path(case.subject)
    if path.suffix in (".S", ".s") and path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        texts += [(each.where, each.value) for each in find_annotations(text, str(path), ("assert",))]
    texts += texts_of_option([case.asserts] if case.asserts else [])
    found = [resolve(parse_property(text, where), names, where) for where, text in texts]
    if found and case.kexec:
        raise InvalidCase(f"{texts[0][0]}: properties are of one boot; kexec={case.kexec}: leave it out")
    return found


def outcomes_of(text: str, names: SubjectNames) -> dict[str, Expression]:
    """Return the expressions of ``--outcomes`` by their texts, resolved.

    :raises InvalidCase: one that is none, or a name that is not there
    """
    found = {}
    for each in parse_outcomes(text):
        condition = resolve(each, names, "outcomes").condition
        assert condition is not None, "an outcome is an expression"
        found[each.text] = condition
    return found


def watch_machine(machine: Machine, properties: Sequence[Resolved]) -> None:
    """Let ``machine`` stop where the properties look, and its trace have what does not hold."""
    if not properties:
        return
    for pc in all_labels(properties):
        machine.landings.look_at(pc)
    machine.watch = MachineWatch(machine, properties)
    if machine.grain is Grain.FREE and any(each.property.kind in _OF_ALL_STATES for each in properties):
        machine.grain = Grain.OPERATION


class MachineWatch:
    """Properties on a machine that runs (:class:`emu.machine.machine.Watch`)."""

    def __init__(self, machine: Machine, properties: Sequence[Resolved]) -> None:
        self._machine = machine
        self._properties = properties
        self._seen: set[int] = set()  # numbers of the eventually that have been true
        self._told: set[tuple[int, int]] = set()  # number of the property, CPU
        self._look()

    def step(self, cpu: int) -> None:
        """Look at the state after a step."""
        self._look()

    def _look(self) -> None:
        machine = self._machine
        for number, each in enumerate(self._properties):
            if each.property.kind == "eventually":
                assert each.condition is not None
                if number not in self._seen and holds(each.condition, self):
                    self._seen.add(number)
                continue
            for cpu in broken_in(each, self, len(machine.actors)):
                if (number, cpu) not in self._told:
                    self._told.add((number, cpu))
                    place = self.pc(cpu) if each.places else 0
                    text = machine.trace.string(each.property.text)
                    machine.trace.add(Kind.PROPERTY, cpu, 0, place, 0, text)

    def end(self, trace: Trace) -> None:
        """Add what does not hold if the run ends here; a run that was cut off has no end."""
        if self._machine.stopped or self._machine.queue.runnable:
            return
        for number, each in enumerate(self._properties):
            if broken_at_end(each, self, number in self._seen):
                trace.add(Kind.PROPERTY, 0, 0, 0, 0, trace.string(each.property.text))

    # -- the machine as an expression looks at it (:class:`emu.properties.evaluate.View`) -----------

    def word(self, pa: int, size: int) -> int:
        """Return what is in memory between two accesses: what CPUs with caches on see."""
        return int.from_bytes(self._machine.memory.read_bytes(pa, size), "little")

    def register(self, cpu: int, number: int) -> int:
        """Return a register of the PE."""
        return self._machine.actors[cpu].pe.x[number]

    def pc(self, cpu: int) -> int:
        """Return the PC of a CPU that runs guest code, or where it landed; 0: it is off, or never ran any."""
        actor = self._machine.actors[cpu]
        if actor.state is State.OFF or (actor.task is not None and not actor.landings):
            return 0
        return actor.pe.pc - 4 if actor.state is State.WAITING else actor.pe.pc
