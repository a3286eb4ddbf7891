"""PEs that go round and change nothing: found, put aside, and let on when what they look at has changed.

Where such a PE can be let run for ever without any effect, the machine does not: its time stands still until
a word that it looks at has another value. What is left when nobody can do anything more has its outcome: it
spins for ever. So have PEs that change memory and come back to where they were, alone or, where they look at
what another one changes, together. A PE that counts, for longer than the run may take, is put aside too: when
nobody else can do anything more, the run has come to its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from emu.arch.counter import TICK
from emu.constraints import EXCEPTION_LOOP
from emu.cpu.loops import Loop
from emu.cpu.pe import PE
from emu.cpu.stops import Raised
from emu.machine.actor import LOOK_AFTER, Actor, Grain, State
from emu.machine.outside import Outside
from emu.operation import Kind
from emu.outcome import End, Outcome
from emu.semantics.events import has_event
from emu.semantics.state import members

if TYPE_CHECKING:
    from emu.machine.machine import Machine

T = TypeVar("T")
AHEAD_MAX = 1 << 14  # instructions that a look goes ahead: one at a time
_SHORT = 1 << 10  # likewise, of a look that others follow
_WAIT = 1000  # ns that a PE may wait for the counter, for each instruction of the run's limit
_EC_WFX = 0x01
_PAGE = 4096
_LOOK_ASLEEP = 1000  # sleeps in WFE before a look, which others follow
_PER_SLEEP = 40_000  # instructions, which take as long as one sleep
_ROUND = 64  # picks between two looks at what has changed
_TOGETHER_MAX = 64  # PEs that are looked at together
_TURNS_MAX = 16  # times AHEAD_MAX: instructions of all of them
_TURN = 64  # instructions of each of them, where the machine lets a PE run freely
_RELEASES = 2  # by what others have changed, before a PE is looked at together with them


class _Aside(NamedTuple):
    """A PE that is put aside.

    :ivar seen: PA and bytes of each word that its loop loads, and what was seen there
    :ivar stored: PAs of the bytes that it changes
    :ivar heard: what firmware answered by; None: it was not asked
    :ivar event: whether its event register was set, or is not heeded: then it goes round with an event
    :ivar group: the CPUs that go round together
    :ivar counts: it would come out of its loop, but not within the run's limit
    """

    seen: dict[tuple[int, int], bytes]
    stored: frozenset[int]
    heard: Hashable
    event: bool
    group: tuple[int, ...]
    counts: bool

    def sees(self, other: _Aside) -> bool:
        return any(not other.stored.isdisjoint(range(pa, pa + size)) for pa, size in self.seen)


class Spins:
    """The PEs of ``machine`` that go round.

    :ivar aside: those that were put aside, by CPU
    :ivar looks_for_them: whether they are put aside
    :ivar are_livelocks: one that nobody ends is a finding, not an outcome alone: no host waits for it
    :ivar looks_ahead: a PE is run ahead just now: nothing of it is recorded
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.aside: dict[int, _Aside] = {}
        self._released: dict[int, int] = {}  # by CPU, how often, because another one has changed something
        self._picks = 0
        self._told: set[tuple[int, int]] = set()  # CPU and VA of exception loops
        self._exceptions: dict[tuple[int, int, int], int] = {}  # by CPU, VA and syndrome, how many were taken
        self._look_asleep_at = _LOOK_ASLEEP
        self.looks_for_them = True
        self.looks_ahead = self.are_livelocks = False

    def look(self, cpu: int, actor: Actor) -> bool:
        """The PE of ``cpu`` has run for a grain and can go on: put it aside if it goes round.

        :return: whether it can go on at once
        """
        done = actor.pe.counters.instructions
        if not self.looks_for_them or (done < actor.look_at and actor.repeats < actor.repeats_max):
            return True
        if self._released.get(cpu, 0) >= _RELEASES and self._look_together(cpu):
            return False
        outside = Outside(self._machine)
        loop = self._run_ahead(actor, outside, max(self._machine.instructions_left, 1))
        if loop is not None:
            if not self._tell(cpu, loop, outside):
                self._put_aside(cpu, loop, outside, (cpu,))
            return False
        if outside.ticks and self.pass_time(cpu):
            actor.look_at = done + LOOK_AFTER
            return False  # others have that time too
        if self._machine.interconnect.system.asleep and self._look_together(cpu):
            return False  # it would sleep, or wake one that does
        self._look_later(actor)
        return True

    def count_sleep(self, cpu: int) -> None:
        """The PE of ``cpu`` has run to a WFE and sleeps: look, now and then, for PEs that wake each other.

        At a number of sleeps the run ends; a pen in which each CPU waits for its turn has its share of them.
        """
        machine = self._machine
        machine.clock.sleeps += 1
        most = 2 * len(machine.actors) ** 2 + max(_LOOK_ASLEEP, machine.instructions_max // _PER_SLEEP)
        if machine.clock.sleeps >= most:
            pc = machine.actors[cpu].pe.pc - 4
            limit = f"limit of {most} sleeps in WFE (--instructions-max)"
            machine.stopped = f"{limit}: CPUs wake each other, the last one at {pc:#x}"
        elif machine.clock.sleeps >= self._look_asleep_at:
            self._look_asleep_at *= 2
            if self.looks_for_them and machine.queue.runnable:
                self._look_together(cpu)

    def _look_later(self, actor: Actor) -> None:
        done = actor.pe.counters.instructions
        actor.look_at = done + max(LOOK_AFTER, done)
        actor.repeats, actor.repeats_max = 0, 2 * actor.repeats_max

    def _put_aside(self, cpu: int, loop: Loop, outside: Outside, group: tuple[int, ...]) -> None:
        machine = self._machine
        actor = machine.actors[cpu]
        places = [*outside.looks, *self._code_of(actor.pe, loop)]
        seen = {(pa, size): self._see(pa, size) for pa, size in places}
        heard = machine.power.knowledge() if outside.asks else None
        # One that goes round alone sleeps in no WFE: an event changes something for a trapped one only.
        heeds = len(group) > 1 or loop.raised is not None
        event = not heeds or has_event(machine.interconnect.system, cpu)
        counts = loop.counts and loop.raised is None
        self.aside[cpu] = _Aside(seen, frozenset(outside.changed), heard, event, group, counts)
        if loop.raised is not None:
            outcome = Outcome(End.EXCEPTION_LOOP, number=loop.raised.syndrome)
            actor.spins = outcome, loop.raised.preferred_return
        elif loop.counts:
            actor.spins = Outcome(End.RUNNING), loop.first
        else:
            actor.spins = Outcome(End.SPINS, number=outside.first_look.get(cpu, 0)), loop.first
        if actor.state is State.RUNNABLE:  # else it sleeps
            machine.queue.set(cpu, State.SPINNING)

    def _look_together(self, cpu: int) -> bool:
        # Whether all PEs that could go on, that of `cpu` among them, go round together, and are put aside.
        machine = self._machine
        asleep = members(machine.interconnect.system.asleep)
        group = tuple(sorted({cpu, *machine.queue.runnable, *self.aside, *asleep}))
        if len(group) > _TOGETHER_MAX or any(machine.actors[each].task is not None for each in group):
            return False
        for each in group:
            machine.naps.forget(machine.actors[each])
        outside = Outside(machine, together=sum(1 << each for each in group))
        pes = [machine.actors[each].pe for each in group]
        turn = _TURN if machine.grain is Grain.FREE else 1
        limit = AHEAD_MAX * min(len(group), _TURNS_MAX)
        loops = self._ahead(outside, lambda: machine.engine.run_ahead(pes, outside, limit, turn=turn))
        if loops is None:
            return False
        for each, loop in zip(group, loops, strict=True):
            self._put_aside(each, loop, outside, group)
        return True

    def loop_of(self, cpu: int, instructions: int) -> Loop | None:
        """Return how the PE of ``cpu``, which nobody observes, goes round from here on with no effect.

        None: it gets somewhere, or it was not seen that it does not. One that counts goes round when it does
        for so many ``instructions``.
        """
        machine = self._machine
        machine.engine.observe(record=True)
        try:
            return self._run_ahead(machine.actors[cpu], Outside(machine), instructions)
        finally:
            machine.engine.unobserve(maintenance=machine.interconnect.primary is not None)

    def counts_on(self, cpu: int, instructions: int) -> bool:
        """Tell whether it is proved that the PE of ``cpu`` counts for so many instructions from here on.

        A look that goes a short way ahead is enough: others follow.
        """
        loop = self._run_ahead(self._machine.actors[cpu], Outside(self._machine), instructions, _SHORT)
        return loop is not None and loop.counts

    def pass_time(self, cpu: int) -> bool:
        """Let the time pass for which the PE of ``cpu`` does nothing but wait for the counter.

        It stands at the last round of its loop that goes on; a wait that takes too long ends the run.

        :return: whether it was such a wait
        """
        machine = self._machine
        actor = machine.actors[cpu]
        if machine.free is not None:
            return False
        machine.guest_code.spend_time(actor)
        machine.clock.reach(actor.time)
        longest = machine.instructions_max * _WAIT
        outside = Outside(machine, ticks_max=max(1, longest // TICK))
        # MODEL: the rounds of such a wait are not counted as instructions
        loop = self._run_ahead(actor, outside, 1, _SHORT)
        if loop is None or loop.wait is None:
            return False
        pe, wait = actor.pe, loop.wait
        if not wait.ends:
            machine.stopped = (
                f"limit of {longest / 10**9:g} s of simulated time: CPU{cpu} waits longer for the counter; a "
                "microsecond for each of --instructions-max"
            )
            return True
        machine.clock.pass_ticks(wait.ticks)
        actor.time = max(actor.time, machine.clock.now)
        pe.pc = wait.pc
        for number, value in enumerate(wait.registers):
            pe.x[number] = value
        return True

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
        for goes_on_for, limit in ((1, _SHORT), (0, AHEAD_MAX)):  # first with a proof that it counts in vain
            outside = Outside(self._machine, stores_act=True)
            loop = self._run_ahead(actor, outside, goes_on_for, limit)
            if loop is not None:
                self._tell(cpu, loop, outside)
                return

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

    def _run_ahead(
        self, actor: Actor, outside: Outside, goes_on_for: int = 0, limit: int = AHEAD_MAX
    ) -> Loop | None:
        engine = self._machine.engine
        loops = self._ahead(outside, lambda: engine.run_ahead([actor.pe], outside, limit, goes_on_for))
        return None if loops is None else loops[0]

    def _ahead(self, outside: Outside, run: Callable[[], T | None]) -> T | None:
        # Do what is run and undo what it changes.
        machine = self._machine
        model = machine.model
        before = None if model is None else model.state()
        self.looks_ahead = True
        try:
            found = run()
            outside.undo()
            if model is not None:
                model.settle()
                if model.state() != before:
                    model.set_state(before)
                    return None
            return found
        finally:
            self.looks_ahead = False

    def _see(self, pa: int, size: int) -> bytes:
        # What changes when a load there finds something else.
        model = self._machine.model
        data = self._machine.memory.read_bytes(pa, size)
        return data if model is None else data + model.unit(pa)

    def count_picks(self, picks: int) -> None:
        """So many picks were made with nobody put aside."""
        self._picks += picks

    def let_on(self, *, any_runnable: bool) -> None:
        """Let those go on that would see something new; when nobody can, and one counts, the run is over."""
        self._picks += 1
        if not self.aside or (any_runnable and self._picks % _ROUND):
            return
        for cpu, aside in list(self.aside.items()):
            if cpu in self.aside and self._has_news(cpu, aside):
                self._released[cpu] = self._released.get(cpu, 0) + 1
                self.release(cpu)
        if any_runnable or self._machine.queue.runnable or not self.aside:
            return
        if not self._stands() and not self._look_together(next(iter(self.aside))):
            for cpu in list(self.aside):
                self.release(cpu)
                self._look_later(self._machine.actors[cpu])
        elif any(aside.counts for aside in self.aside.values()):
            cpu = next(cpu for cpu, aside in self.aside.items() if aside.counts)
            self._machine.count(0, f": CPU{cpu}'s loop takes more")

    def _has_news(self, cpu: int, aside: _Aside) -> bool:
        machine = self._machine
        return (
            (has_event(machine.interconnect.system, cpu) and not aside.event)
            or any(self._see(pa, size) != data for (pa, size), data in aside.seen.items())
            or (aside.heard is not None and aside.heard != machine.power.knowledge())
        )

    def _stands(self) -> bool:
        # Whether none that is put aside looks at what another one, which does not go round with it, changes.
        return not any(
            other not in aside.group and aside.sees(theirs)
            for aside in self.aside.values()
            for other, theirs in self.aside.items()
            if theirs.stored
        )

    def release(self, cpu: int) -> None:
        """Let ``cpu``, if it was put aside, and those that went round with it go on."""
        aside = self.aside.pop(cpu, None)
        if aside is None:
            return
        machine = self._machine
        actor = machine.actors[cpu]
        actor.spins = None
        actor.look_at = actor.pe.counters.instructions + LOOK_AFTER
        actor.repeats = 0
        if actor.state is State.SPINNING:
            actor.time = max(actor.time, machine.now)
            machine.queue.set(cpu, State.RUNNABLE)
        for other in aside.group:
            self.release(other)

    def renumber(self, new: Mapping[int, int]) -> None:
        """Follow CPUs that change their numbers: ``new`` has the number by the old one."""
        self.aside = {
            new[cpu]: aside._replace(group=tuple(new[each] for each in aside.group))
            for cpu, aside in self.aside.items()
        }
        self._released = {new[cpu]: count for cpu, count in self._released.items()}
