"""PEs that wake from WFE, look at a word, and wait again: done here where their rounds are understood.

Every SEV wakes all who wait, and a holding pen has thousands that find another's number. What such a PE does
is known from a round that was executed (:mod:`emu.arch.rounds`): the same loads and comparisons are made
here, with the word that is there now. The trace, the counters and the times are those of the engine. What
counters and registers do not show yet is put into the PE when it runs again, or when the run is over.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emu.arch import sysreg
from emu.arch.rounds import Look, Round, understand
from emu.cpu.engine import UNLIMITED
from emu.cpu.pe import PE, Counters
from emu.machine.actor import Actor, Grain
from emu.machine.outside import Outside
from emu.machine.pens import Pen, Words
from emu.operation import Kind
from emu.semantics import events
from emu.semantics.state import members

if TYPE_CHECKING:
    from emu.machine.machine import Machine

_ROUND_MAX = 32  # instructions
_CROWD = 4  # so often a wait was seen, and those who wait alike are kept as one
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
    :ivar pen: the crowd that it is one of, or None; what that has made is not in the following
    :ivar rounds: those that were made here, and are not in its counters
    :ivar passed: those of them whose WFE found the event register set, and did not wait
    :ivar seen: the words of the last of them
    """

    __slots__ = ("guards", "left", "of", "passed", "pc", "pen", "rounds", "seen")

    def __init__(self, of: Round, pe: PE, left: int) -> None:
        self.pc = pe.pc
        self.left = left
        self.rounds = self.passed = 0
        self.of = of
        self.guards = tuple(
            (compare.load, 2 ** (8 * compare.size) - 1, compare.other(pe.x), equal)
            for compare, equal in of.guards
        )
        self.seen: Words = ()
        self.pen: Pen | None = None

    def put(self, pe: PE) -> None:
        """Let ``pe`` be as it is after the last round."""
        if not self.rounds:
            return
        pe.counters.instructions += self.rounds * len(self.of.code)
        pe.counters.loads += self.rounds * len(self.of.looks)
        pe.counters.loads_mmu_off += self.rounds * len(self.of.looks)
        pe.counters.wfe_sleeps += self.rounds - self.passed
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
        self._pens: dict[tuple[Round, int], Pen] = {}
        self._alike: dict[tuple[Round, int], int] = {}  # how often a CPU has come to wait so
        self._in_pens = False  # whether CPUs that wait alike are kept as a crowd
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
        # Others than those that take turns look at single CPUs.
        self._in_pens = self._looks and machine.takes_turns and machine.trace.keeps_wakes
        try:
            yield
        finally:
            self._looks = self._in_pens = False
            for actor in machine.actors:
                self.forget(actor)

    def forget(self, actor: Actor) -> None:
        """The PE of ``actor`` runs, is reset or is looked at: let it be as it is after its last round."""
        if actor.nap is not None:
            self._leave(actor, actor.nap)
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
            if self._in_pens:
                self._join(actor, actor.nap)

    def _join(self, actor: Actor, nap: Nap) -> None:
        # It sleeps: let it wait with those that wait alike, if there are some.
        key = nap.of, nap.pc
        pen = self._pens.get(key)
        if pen is None:
            alike = self._alike[key] = self._alike.get(key, 0) + 1
            if alike < _CROWD:
                return
            cost = self._machine.latency.of(_counters(nap.of))
            pen = self._pens[key] = Pen(nap.of, nap.pc, cost)
        pen.join(actor.pe.index, nap)
        nap.pen = pen

    @staticmethod
    def _leave(actor: Actor, nap: Nap) -> None:
        if nap.pen is not None:
            nap.pen.leave(actor.pe.index, actor, nap)
            nap.pen = None

    def wake(self, woken: int) -> list[Pen]:
        """The WFE of ``woken``, a set, completes now; return the pens in which all are woken."""
        found = []
        for pen in self._pens.values():
            for cpu in pen.up[:]:
                self._let_leave(cpu)
            if pen.bits & ~woken:
                for cpu in members(pen.bits & woken):
                    self._let_leave(cpu)
            elif pen.bits:
                for cpu in pen.wake(self._machine.now):
                    self._let_leave(cpu)
                found.append(pen)
        return found

    def _let_leave(self, cpu: int) -> None:
        actor = self._machine.actors[cpu]
        assert actor.nap is not None, "it is in a pen"
        self._leave(actor, actor.nap)

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
        cpus = runnable[at:] if at < len(runnable) else runnable[:]
        if machine.actors[cpus[0]].nap is None or not clock.is_quiet_for(
            len(cpus), 2 * len(cpus) * _ROUND_MAX
        ):
            return False
        done = self.rest(cpus)
        if not done:
            return False
        if clock.timers:
            clock.quiet_picks += done
        machine.picks += done
        machine.spins.count_picks(done)
        machine.current = cpus[done - 1]
        machine.pc_before = machine.actors[machine.current].pe.pc
        return True

    def rest(self, cpus: Sequence[int]) -> int:
        """Let ``cpus``, which wake one after the other, look and wait again; return how many of them do.

        :param cpus: neighbours in the run queue
        """
        machine, clock = self._machine, self._machine.clock
        deadline = clock.timers[0].deadline if clock.timers else -1
        happened = machine.interconnect.system.events
        words: Words | None = None
        current: Round | None = None
        done = 0
        while done < len(cpus):
            actor = machine.actors[cpus[done]]
            nap = actor.nap
            if nap is None or actor.task is not None:
                break
            event = bool(happened) and bool(happened >> cpus[done] & 1)
            if event:  # its first WFE does not wait: it is no longer as the others
                self._leave(actor, nap)
            if nap.of is not current:
                current = nap.of
                words = self._words(current)
            room = (machine.instructions_left - 1) // len(current.code)
            if words is None or room <= event:
                break
            before = clock.now
            if nap.pen is None:
                alone = self._rest_alone(cpus[done], actor, nap, words, event)
                if not alone:
                    break
                done += 1
            else:
                crowd = cpus[done:] if done else cpus
                rested = self._rest_pen(nap.pen, crowd, words, room, happened, deadline)
                if not rested:
                    break
                done += rested
            if clock.now > before and 0 <= deadline <= clock.now:
                break
        return done

    def _rest_alone(self, cpu: int, actor: Actor, nap: Nap, words: Words, event: bool) -> bool:
        # Whether it waits again when it finds these words; with an `event` behind the round after this one.
        if nap.rounds + event >= nap.left:
            return False
        for load, mask, other, equal in nap.guards:
            if (words[load] & mask == other) is not equal:
                return False
        machine = self._machine
        nap.seen = words
        if event:
            system = machine.interconnect.system
            machine.interconnect.system, _ = events.wait_for_event(system, cpu)
            nap.passed += 1
        nap.rounds += 1 + event
        actor.time += (1 + event) * machine.latency.of(_counters(nap.of))
        machine.clock.reach(actor.time)
        machine.clock.begun += (1 + event) * len(nap.of.code)
        machine.queue.wait_again(cpu)
        if self._in_pens:
            self._join(actor, nap)
        return True

    def _rest_pen(
        self, pen: Pen, cpus: Sequence[int], words: Words, room: int, happened: int, deadline: int
    ) -> int:
        # How many of `cpus`, the first of whom is up in the pen, wait again at once.
        clock = self._machine.clock
        count = min(pen.first_of(cpus), room)
        time = pen.time_after
        if time > clock.now and 0 <= deadline <= time:
            count = 1
        leaving = (pen.who_leaves(words) | happened) >> cpus[0]
        if leaving:
            count = min(count, bisect_left(cpus, cpus[0] + (leaving & -leaving).bit_length() - 1))
        if count:
            rested = cpus[:count]
            self._machine.queue.sleep_again(rested, pen.looked(rested, words))
            self._machine.actors[rested[-1]].time = time
            clock.reach(time)
            clock.begun += count * len(pen.of.code)
        return count

    def _words(self, each: Round) -> Words | None:
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
