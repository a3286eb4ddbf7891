"""PEs that wake from WFE, look at a word, and wait again: done here where their rounds are understood.

Every SEV wakes all who wait, and a holding pen has thousands that find another's number. What such a PE does
is known from a round that was executed (:mod:`emu.arch.rounds`): the same loads and comparisons are made
here, with the word that is there now. The trace, the counters and the times are those of the engine. What
counters and registers do not show yet is put into the PE when it runs again, or when the run is over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emu.arch import sysreg
from emu.arch.rounds import Look, Round, understand
from emu.cpu.engine import UNLIMITED
from emu.cpu.pe import PE, Counters
from emu.machine.actor import Actor, Grain
from emu.machine.outside import Outside
from emu.operation import Kind

if TYPE_CHECKING:
    from emu.machine.machine import Machine

_ROUND_MAX = 32  # instructions
_HCR_VM = 1
_LOOKS_AT_NOTHING_ELSE = frozenset({Kind.LOAD, Kind.BARRIER, Kind.WFE})


class _Looking(Outside):
    # What is around a PE of which one round is executed to be understood.

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.loads: list[Look] = []

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        if kind not in _LOOKS_AT_NOTHING_ELSE:
            super().record(pe, kind, size, va, pa, value)
            self.acts = True
        elif kind is Kind.LOAD:
            self.loads.append(Look(pa, size))


class Nap:
    """How the PE of one CPU waits.

    :ivar guards: number of a load, mask, what the masked word is compared to, and whether it waits when equal
    :ivar pc: VA behind its WFE
    :ivar left: rounds that may be made here: in the next one the engine looks at where it is
    :ivar rounds: those that were made here, and are not in its counters
    :ivar seen: the words of the last of them
    """

    __slots__ = ("guards", "left", "of", "pc", "rounds", "seen")

    def __init__(self, of: Round, pe: PE, left: int) -> None:
        self.pc = pe.pc
        self.left = left
        self.rounds = 0
        self.of = of
        self.guards = tuple(
            (compare.load, 2 ** (8 * compare.size) - 1, compare.other(pe.x), equal)
            for compare, equal in of.guards
        )
        self.seen: tuple[int, ...] = ()

    def put(self, pe: PE) -> None:
        """Let ``pe`` be as it is after the last round."""
        if not self.rounds:
            return
        pe.counters.instructions += self.rounds * len(self.of.code)
        pe.counters.loads += self.rounds * len(self.of.looks)
        pe.counters.loads_mmu_off += self.rounds * len(self.of.looks)
        pe.counters.wfe_sleeps += self.rounds
        for register, load in self.of.results:
            pe.x[register] = self.seen[load]
        compare = self.of.flags
        if compare is not None:
            pe.nzcv = compare.nzcv(self.seen[compare.load], compare.other(pe.x))


class Naps:
    """The PEs of ``machine`` that wait in rounds that are understood.

    :ivar allowed: whether rounds are looked for
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._rounds: dict[tuple[tuple[tuple[int, int], ...], tuple[Look, ...]], Round | None] = {}
        self._others: set[int] = set()  # VAs behind a WFE whose round is not understood
        self._count = 0
        self._looks = False
        self.allowed = True

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for them during a run in which nobody sees the PEs from outside."""
        machine = self._machine
        self._looks = (
            self.allowed
            and machine.grain is Grain.FREE
            and machine.model is None
            and not machine.recorder.recording
            and machine.trace.steps is None
            and machine.watch is None
        )
        try:
            yield
        finally:
            self._looks = False
            for actor in machine.actors:
                self.forget(actor)

    def forget(self, actor: Actor) -> None:
        """The PE of ``actor`` runs, is reset or is looked at: let it be as it is after its last round."""
        if actor.nap is not None:
            actor.nap.put(actor.pe)
            actor.spent = self._machine.latency.of(actor.pe.counters)
            actor.nap = None
            self._count -= 1

    def learn(self, actor: Actor) -> None:
        """The PE of ``actor`` has just fallen asleep in WFE: find out what it does when it is woken."""
        pe, machine = actor.pe, self._machine
        if not self._looks or pe.pc in self._others:
            return
        self._others.add(pe.pc)
        if pe.mmu_on or pe.sysreg(sysreg.HCR_EL2) & _HCR_VM or self._stops_in(pe.pc):
            return
        around = _Looking(machine)
        code = machine.engine.run_to_wait(pe, around, _ROUND_MAX)
        around.undo()
        if code is None or any(self._stops_in(va) for va, _ in code):
            return
        key = (code, tuple(around.loads))
        if key not in self._rounds:
            self._rounds[key] = understand(*key)
        found = self._rounds[key]
        if found is not None:
            self._others.discard(pe.pc)
            before_look = actor.look_at - pe.counters.instructions - 1
            actor.nap = Nap(found, pe, before_look // len(code) if before_look >= 0 else UNLIMITED)
            self._count += 1

    def _stops_in(self, va: int) -> bool:
        landings = self._machine.landings
        return va in landings or va in landings.labels

    def take(self) -> bool:
        """Let those who are next and find nothing new wait again; False: the next pick is another's."""
        machine, queue = self._machine, self._machine.queue
        runnable, clock = queue.runnable, machine.clock
        if not self._count or len(runnable) < 2 or not machine.picks_in_turn:
            return False
        at = bisect_right(runnable, machine.current)
        cpus = runnable[at:] if at < len(runnable) else runnable
        if machine.actors[cpus[0]].nap is None or not clock.is_quiet_for(len(cpus), len(cpus) * _ROUND_MAX):
            return False
        done = self.rest(cpus)
        if not done:
            return False
        if clock.timers:
            clock.count_pick(done)
        machine.picks += done
        machine.spins.count_picks(done)
        machine.current = cpus[done - 1]
        machine.pc_before = machine.actors[machine.current].pe.pc
        return True

    def rest(self, cpus: Sequence[int]) -> int:
        """Let ``cpus``, which wake one after the other, look and wait again; return how many of them do.

        :param cpus: ascending; all can run
        """
        machine = self._machine
        actors, clock, happened = machine.actors, machine.clock, machine.interconnect.system.events
        latest, left, current = clock.now, machine.instructions_left, None
        deadline = clock.timers[0].deadline if clock.timers else -1
        words: tuple[int, ...] | None = None
        done = begun = instructions = cost = 0
        for cpu in cpus:
            actor = actors[cpu]
            nap = actor.nap
            if nap is None or actor.task is not None or (happened and happened >> cpu & 1):
                break
            if nap.of is not current:
                current = nap.of
                words = self._words(current)
                instructions = len(current.code)
                cost = machine.latency.of(_counters(current))
            if words is None or begun + instructions >= left or nap.rounds >= nap.left:
                break
            for load, mask, other, equal in nap.guards:
                if (words[load] & mask == other) is not equal:
                    break
            else:
                nap.seen = words
            if nap.seen is not words:
                break
            nap.rounds += 1
            begun += instructions
            actor.time += cost
            done += 1
            if actor.time > latest:
                latest = actor.time
                if 0 <= deadline <= latest:
                    break
        if done:
            clock.reach(latest)
            clock.begun += begun
            machine.queue.wait_again(cpus[:done])
        return done

    def _words(self, each: Round) -> tuple[int, ...] | None:
        # What the loads find now; None: the code is not what it was.
        memory = self._machine.memory
        if any(memory.read(va, 4) != word for va, word in each.code):
            return None
        return tuple(memory.read(look.pa, look.size) for look in each.looks)


def _counters(each: Round) -> Counters:
    counters = Counters()
    counters.instructions = len(each.code)
    counters.loads = counters.loads_mmu_off = len(each.looks)
    return counters
