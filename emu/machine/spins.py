"""PEs that go round and change nothing: found, put aside, and let on when what they look at has changed.

Where such a PE can be let run for ever without any effect, the machine does not: its time stands still until
a word that it looks at has another value. What is left when nobody can do anything more has its outcome: it
spins for ever.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from emu.constraints import EXCEPTION_LOOP
from emu.cpu.attributes import access_is_cacheable
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.loops import Loop
from emu.cpu.pe import PE
from emu.cpu.stops import Raised
from emu.machine.actor import LOOK_AFTER, Actor, State
from emu.operation import LOADS, STORES, Kind
from emu.outcome import End, Outcome
from emu.semantics.events import has_event

if TYPE_CHECKING:
    from emu.machine.machine import Machine

AHEAD_MAX = 1 << 14  # instructions that a look goes ahead: one at a time
_EC_WFX = 0x01
_PAGE = 4096
_ROUND = 64  # picks between two looks at what has changed


class Outside(LocalInterconnect):
    """What is around a PE that is run ahead (:class:`emu.cpu.loops.LookAhead`): the machine, unchanged.

    :ivar acts: whether the PE has changed something, or looked at a device or the time
    :ivar overwritten: PA and bytes of what it has changed, in order
    :ivar looks: PA and bytes of the words that it has loaded
    :ivar asks: whether the PE has asked firmware something
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.acts = self.asks = False
        self.overwritten: list[tuple[int, bytes]] = []
        self.looks: dict[tuple[int, int], None] = {}
        self._machine = machine
        self.system = machine.interconnect.system._replace(monitors=())

    def state(self) -> Hashable:
        """Return the shared state and that of the memory model."""
        model = self._machine.model
        return self.system, None if model is None else model.state()

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Notice what loads look at, and stores that change something."""
        if kind in LOADS:
            self.looks[pa, size] = None
        elif kind in STORES:
            memory = self._machine.memory
            before = memory.read_bytes(pa, min(size, memory.base + memory.size - pa))
            if size > 8 or before != value.to_bytes(size, "little"):
                self.acts = True
                self.overwritten.append((pa, before))

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Let the memory model show what the access finds."""
        machine = self._machine
        word = machine.engine.word(va)
        assert machine.model is not None
        assert word is not None, "it is being executed"
        cacheable = access_is_cacheable(pe, word, va, machine.memory)
        machine.model.access(pe.index, pa, size, cacheable, is_store)

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Maintenance is taken for an act: lines may change."""
        self.acts = True

    def maintain_by_set_way(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Likewise."""
        self.acts = True

    def send_event(self, pe: PE) -> None:
        """SEV: an act when it wakes a CPU."""
        if self.system.asleep:
            self.acts = True
        super().send_event(pe)

    def call(self, pe: PE, conduit: str) -> int | None:
        """A question to firmware, which answers the same until it has been told something else."""
        power = self._machine.power
        self.asks = True
        return (
            power.ask_in_vain(pe.index, pe.x[0], pe.x[1], pe.x[2], pe.x[3])
            if conduit == power.conduit
            else None
        )

    def passes(self, va: int) -> bool:
        """Tell whether a PE that stops at ``va`` goes on by itself."""
        return va in self._machine.landings.labels and va not in self._machine.landings

    def device_load(self, pe: PE, pa: int, size: int) -> int:
        """What a device gives may change by itself."""
        self.acts = True
        return 0

    def device_store(self, pe: PE, pa: int, size: int, value: int) -> None:
        """The device does something."""
        self.acts = True

    def counter(self, pe: PE) -> int:
        """Time goes on."""
        self.acts = True
        return 0


class Spins:
    """The PEs of ``machine`` that go round.

    :ivar looks_for_them: whether they are put aside
    :ivar looks_ahead: a PE is run ahead just now: nothing of it is recorded
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # By CPU, what its loop loads: PA and bytes of each word, and what was seen there.
        self._seen: dict[int, dict[tuple[int, int], bytes]] = {}
        # By CPU, what firmware answered by when its loop asked it; None: it asks nothing.
        self._heard: dict[int, Hashable] = {}
        self._picks = 0
        self._told: set[tuple[int, int]] = set()  # CPU and VA of exception loops
        self._exceptions: dict[tuple[int, int, int], int] = {}  # by CPU, VA and syndrome, how many were taken
        self.looks_for_them = True
        self.looks_ahead = False

    def look(self, cpu: int, actor: Actor) -> None:
        """The PE of ``cpu`` has run for a grain and can go on: put it aside if it goes round."""
        done = actor.pe.counters.instructions
        if not self.looks_for_them or (done < actor.look_at and actor.repeats < actor.repeats_max):
            return
        outside = Outside(self._machine)
        loop = self._run_ahead(actor, outside)
        if loop is not None and self._tell(cpu, loop, outside):
            return
        if loop is None:
            actor.look_at = done + max(LOOK_AFTER, done)
            actor.repeats, actor.repeats_max = 0, 2 * actor.repeats_max
            return
        places = [*outside.looks, *self._code_of(actor.pe, loop)]
        self._seen[cpu] = {(pa, size): self._see(pa, size) for pa, size in places}
        self._heard[cpu] = self._machine.power.knowledge() if outside.asks else None
        if loop.raised is not None:
            outcome = Outcome(End.EXCEPTION_LOOP, number=loop.raised.syndrome)
            actor.spins = outcome, loop.raised.preferred_return
        else:
            first_pa = next(iter(outside.looks), (0, 0))[0]
            actor.spins = Outcome(End.SPINS, number=first_pa), loop.first
        self._machine.queue.set(cpu, State.SPINNING)

    def loop_of(self, cpu: int) -> Loop | None:
        """Return how the PE of ``cpu``, which nobody observes, goes round from here on with no effect.

        None: it gets somewhere, or it was not seen that it does not.
        """
        machine = self._machine
        machine.engine.observe(record=True)
        try:
            return self._run_ahead(machine.actors[cpu], Outside(machine))
        finally:
            machine.engine.unobserve()

    @staticmethod
    def _code_of(pe: PE, loop: Loop) -> list[tuple[int, int]]:
        # PA and bytes of the loop's instructions, in the page where they begin.
        pa = pe.translate(loop.first)
        size = min(loop.last + 4 - loop.first, _PAGE - loop.first % _PAGE)
        return [] if pa is None else [(pa, size)]

    def look_at_exception(self, cpu: int) -> None:
        """The PE of ``cpu`` has just taken an exception: tell of it if it will take it for ever."""
        actor = self._machine.actors[cpu]
        kind = (cpu, *actor.raised)
        count = self._exceptions[kind] = self._exceptions.get(kind, 0) + 1
        if count & count - 1:
            return  # it did not the last times
        outside = Outside(self._machine)
        loop = self._run_ahead(actor, outside)
        if loop is not None:
            self._tell(cpu, loop, outside)

    def forget_exceptions(self) -> None:
        """Look at the next exception, and tell of it, as if it were the first one."""
        self._exceptions.clear()
        self._told.clear()

    def _tell(self, cpu: int, loop: Loop, outside: Outside) -> bool:
        # Tell of an exception loop that looks at nothing, once for each place; True when it ends the CPU. An
        # event may end one of a WFE that is trapped.
        if loop.raised is None or outside.looks or self._is_at_vector(cpu, loop.raised):
            return False
        machine, raised = self._machine, loop.raised
        if (cpu, raised.preferred_return) not in self._told:
            self._told.add((cpu, raised.preferred_return))
            machine.recorder.text(Kind.MISUSE, cpu, raised.preferred_return, EXCEPTION_LOOP.name)
        if raised.syndrome >> 26 == _EC_WFX:
            return False
        outcome = Outcome(End.EXCEPTION_LOOP, number=raised.syndrome)
        machine.end(cpu, outcome, raised.preferred_return)
        return True

    def _is_at_vector(self, cpu: int, raised: Raised) -> bool:
        # Whether the exception is that of the vector's first instruction, which has an outcome of its own.
        return raised.preferred_return == self._machine.actors[cpu].pe.vector(raised)

    def _run_ahead(self, actor: Actor, outside: Outside) -> Loop | None:
        machine = self._machine
        model = machine.model
        before = None if model is None else model.state()
        self.looks_ahead = True
        try:
            loop = machine.engine.run_ahead(actor.pe, outside, AHEAD_MAX)
            for pa, data in reversed(outside.overwritten):
                machine.memory.write_bytes(pa, data)
            if model is not None:
                model.settle()
                if model.state() != before:
                    model.set_state(before)
                    return None
            return loop
        finally:
            self.looks_ahead = False

    def _see(self, pa: int, size: int) -> bytes:
        # What changes when a load there finds something else.
        model = self._machine.model
        data = self._machine.memory.read_bytes(pa, size)
        return data if model is None else data + model.unit(pa)

    @property
    def any_put_aside(self) -> bool:
        """Whether there is one."""
        return bool(self._seen)

    def count_picks(self, picks: int) -> None:
        """So many picks were made with nobody put aside."""
        self._picks += picks

    def let_on(self, *, any_runnable: bool) -> None:
        """Let those go on that would see something new."""
        self._picks += 1
        if not self._seen or (any_runnable and self._picks % _ROUND):
            return
        for cpu, seen in list(self._seen.items()):
            system = self._machine.interconnect.system
            heard = self._heard[cpu]
            if (
                has_event(system, cpu)
                or any(self._see(pa, size) != data for (pa, size), data in seen.items())
                or (heard is not None and heard != self._machine.power.knowledge())
            ):
                self.release(cpu)

    def release(self, cpu: int) -> None:
        """Let ``cpu`` go on, if it was put aside, whether it sees something new or not."""
        if self._seen.pop(cpu, None) is None:
            return
        del self._heard[cpu]
        machine = self._machine
        actor = machine.actors[cpu]
        actor.spins = None
        actor.look_at = actor.pe.counters.instructions + LOOK_AFTER
        actor.repeats = 0
        if actor.state is State.SPINNING:
            actor.time = max(actor.time, machine.now)
            machine.queue.set(cpu, State.RUNNABLE)

    def renumber(self, new: Mapping[int, int]) -> None:
        """Follow CPUs that change their numbers: ``new`` has the number by the old one."""
        self._seen = {new[cpu]: seen for cpu, seen in self._seen.items()}
        self._heard = {new[cpu]: heard for cpu, heard in self._heard.items()}
