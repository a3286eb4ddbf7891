"""A debug session: a machine that is stepped, stopped, looked at, and taken back in time.

A position is the number of steps done: one instruction of a PE, or one operation of a host task. What was
done at each is kept (which CPU, at which PC, how far the trace had got), so that "who wrote this last" and
"where was this reached before" are looked up; going there is :mod:`emu.debug.timeline`'s.

This is one file because a step, what it leaves in the log and what stops after it are one loop.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from emu.actor import Grain, State
from emu.arch.mpidr import hwid
from emu.cpu.pe import PE
from emu.debug.edits import Edit
from emu.debug.expressions import evaluate
from emu.debug.places import Places
from emu.debug.timeline import Timeline
from emu.host.build import Boot
from emu.operation import OPERATIONS, Kind, Record

CHECKPOINT_STEPS = 4096
NEAR_STEPS = 256  # before where a travel ends there is a checkpoint
LEAVE_STEPS = 1 << 20  # what is kept of them must fit in memory
_LOOK_STEPS = 1024  # between two looks whether somebody wants to interrupt
_FORCED = 0x8000  # in the log: not the scheduler's pick
_CPU_MASK = 0x7FFF
_WRITES = (Kind.STORE, Kind.ATOMIC, Kind.STORE_EXCLUSIVE)
_READS = (Kind.LOAD, Kind.LOAD_EXCLUSIVE, Kind.ATOMIC)
_BACK = {"read": _READS, "access": (*_READS, *_WRITES)}


class Others(Enum):
    """What the other CPUs do while one is stepped."""

    SCHEDULE = "schedule"  # whatever the scheduler has them do
    STAND = "stand"  # nothing
    FREE = "free"  # as much as they can, up to FREE_STEPS each


FREE_STEPS = 256


class Event(Enum):
    """What a session can stop at beside breakpoints and watchpoints."""

    EXCEPTION = "exception"
    CALL = "call"  # of firmware
    MMU = "mmu"
    EL = "el"
    WFE = "wfe"  # a CPU falls asleep
    LAND = "land"
    POWER_ON = "power-on"
    LOG = "log"  # a line of dmesg


_EVENT_KINDS = {
    Kind.EXCEPTION: Event.EXCEPTION,
    Kind.CALL: Event.CALL,
    Kind.MMU: Event.MMU,
    Kind.EL: Event.EL,
    Kind.LAND: Event.LAND,
    Kind.POWER_ON: Event.POWER_ON,
    Kind.LOG: Event.LOG,
}


@dataclass(slots=True)
class Breakpoint:
    """An instruction, whichever address the PC has when it gets there.

    :ivar pa: PA of the instruction
    :ivar cpu: the only CPU that it is for; -1: any
    :ivar condition: expression (:mod:`emu.debug.expressions`); nothing: always
    """

    number: int
    pa: int
    text: str
    cpu: int = -1
    condition: str = ""
    temporary: bool = False
    hits: int = 0


@dataclass(slots=True)
class Watchpoint:
    """Bytes of memory, whoever touches them.

    :ivar access: "write", "read", "access", or "change" (a write of another value)
    """

    number: int
    pa: int
    size: int
    text: str
    access: str = "write"
    cpu: int = -1
    hits: int = 0
    value: bytes = b""  # what they held last


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a session has stopped.

    :ivar reason: "step", "breakpoint", "watchpoint", "event", "interrupt", "goal", "start" or "end"
    :ivar cpu: whose step it was
    :ivar text: what happened, in words
    :ivar number: of the breakpoint or watchpoint
    :ivar pa: that was touched, of a watchpoint
    """

    reason: str
    cpu: int
    text: str = ""
    number: int = 0
    pa: int = 0


@dataclass(slots=True)
class Settings:
    """What belongs to whoever debugs, not to the machine: it comes along through time."""

    breakpoints: dict[int, Breakpoint] = field(default_factory=dict)
    watchpoints: dict[int, Watchpoint] = field(default_factory=dict)
    events: set[Event] = field(default_factory=set)
    others: Others = Others.SCHEDULE
    cpu: int = 0  # the one that is looked at
    last_number: int = 0
    forced: dict[int, int] = field(default_factory=dict)  # picks to come that are not the scheduler's
    edits: dict[int, list[Edit]] = field(default_factory=dict)  # by the position they were made at


class Session:
    """Debugs one boot. With a timeline it goes backwards too."""

    def __init__(self, boot: Boot, timeline: Timeline | None = None) -> None:
        self.boot = boot
        self.machine = boot.machine
        self.settings = Settings()
        self.places = Places(boot)
        self.position = 0
        self.ended = False
        self.interrupted: Callable[[], bool] = lambda: False
        self._timeline = timeline
        self._cpus = array("H")  # by position: who stepped, and whether it was forced to
        self._pcs = array("Q")  # and where its PC was; 0 for a host task
        self._rows = array("I")  # and how many rows the trace had before
        machine = boot.machine
        machine.grain = Grain.INSTRUCTION
        machine.recording = True
        machine.observe()

    def begin(self) -> None:
        """Make the checkpoint of the start: after this, and after every step, Travelled may come.

        Not when the session is made: whoever catches Travelled needs the session, to let it :meth:`arrive`.
        """
        self._save()

    # -- looking ----------------------------------------------------------------------------------

    def pe(self, cpu: int) -> PE:
        """Return the PE of a CPU."""
        return self.machine.actors[cpu].pe

    @property
    def cpus(self) -> range:
        """The logical CPUs."""
        return range(len(self.machine.actors))

    def state(self, cpu: int) -> str:
        """Return what a CPU is up to, in one word: off, runs, host, wfe, wfi, delayed, spins, ended."""
        actor = self.machine.actors[cpu]
        names = {
            State.OFF: "off",
            State.WAITING: "wfe",
            State.IDLE: "wfi",
            State.DELAYED: "delayed",
            State.SPINNING: "spins",
            State.ENDED: "ended",
        }
        return names.get(actor.state) or ("host" if actor.task is not None else "runs")

    def read(self, pa: int, size: int) -> bytes:
        """Return memory (PA), or fewer bytes where it ends."""
        memory = self.machine.memory
        size = max(0, min(size, memory.base + memory.size - pa))
        return memory.read_bytes(pa, size) if memory.contains(pa, size) else b""

    def pa_of(self, cpu: int, address: int) -> int | None:
        """Return the PA of a VA as ``cpu`` has it mapped now, or None."""
        pe = self.pe(cpu)
        if not pe.mmu_on:
            return address if self.machine.memory.contains(address, 1) else None
        return pe.translate(address)

    def evaluate(self, text: str, cpu: int) -> int:
        """Return the value of an expression (:mod:`emu.debug.expressions`) on ``cpu``.

        :raises InvalidCase: it is none
        """
        return evaluate(text, _On(self, cpu))

    def row(self, index: int) -> Record:
        """Return record ``index`` of the trace."""
        kind, size, actor, pc, pa, value = self.machine.trace.row(index)
        return Record(Kind(kind), actor, size, pc, pa, value)

    def rows_of(self, position: int) -> range:
        """Return the records that step ``position`` left in the trace."""
        end = self._rows[position + 1] if position + 1 < len(self._rows) else len(self.machine.trace)
        return range(self._rows[position], end)

    def stepped(self, position: int) -> tuple[int, int]:
        """Return (CPU, PC) of step ``position``, below ``self.position``; PC 0 is a host task's."""
        return self._cpus[position] & _CPU_MASK, self._pcs[position]

    def last_write(self, pa: int, size: int, before: int | None = None) -> tuple[int, Record] | None:
        """Return (position, record) of the last store to any of these bytes (PA), or None.

        :param before: only steps before this position
        """
        trace = self.machine.trace
        last = self._rows[before] if before is not None and before < len(self._rows) else len(trace)
        first = self._rows[0] if self._rows else len(trace)
        for index in range(last - 1, first - 1, -1):
            kind, width, _actor, _pc, at, _value = trace.row(index)
            if kind in _WRITES and at < pa + size and pa < at + width:
                return bisect_right(self._rows, index) - 1, self.row(index)
        return None

    # -- breakpoints ------------------------------------------------------------------------------

    def add_breakpoint(
        self, text: str, *, cpu: int = -1, condition: str = "", temporary: bool = False
    ) -> Breakpoint:
        """Stop at a place: a symbol, ``symbol+0x10``, ``FILE:LINE``, a PA or a VA.

        :raises InvalidCase: there is no such place
        """
        pa = self.places.instruction(text)
        settings = self.settings
        settings.last_number += 1
        made = Breakpoint(settings.last_number, pa, text, cpu, condition, temporary)
        settings.breakpoints[made.number] = made
        return made

    def add_watchpoint(self, text: str, size: int = 0, *, access: str = "write", cpu: int = -1) -> Watchpoint:
        """Stop when memory is touched: ``symbol``, ``symbol[3].field``, a PA or a VA.

        :param size: bytes; 0: what the place has, else 8
        :raises InvalidCase: there is no such place
        """
        pa, width = self.places.data(text)
        settings = self.settings
        settings.last_number += 1
        made = Watchpoint(settings.last_number, pa, size or width, text, access, cpu)
        made.value = self.read(made.pa, made.size)
        settings.watchpoints[made.number] = made
        return made

    def delete(self, number: int) -> bool:
        """Forget a breakpoint or watchpoint; False when there is none of that number."""
        settings = self.settings
        found = settings.breakpoints.pop(number, None) or settings.watchpoints.pop(number, None)
        return found is not None

    def edit(self, edit: Edit) -> None:
        """Change memory or a register. Whoever comes by this position again finds it changed too."""
        self.settings.edits.setdefault(self.position, []).append(edit)
        edit.apply(self.machine)

    # -- forwards ---------------------------------------------------------------------------------

    def step(self, cpu: int) -> Stop:
        """Let ``cpu`` do one step; the others do what the settings say."""
        return self._run(lambda ran: ran == cpu, cpu)

    def step_operation(self, cpu: int) -> Stop:
        """Run until ``cpu`` has done something that others can observe."""
        trace = self.machine.trace

        def done(ran: int) -> bool:
            first = self._rows[-1]
            return ran == cpu and any(
                trace.row(index)[0] in OPERATIONS and trace.row(index)[2] == cpu
                for index in range(first, len(trace))
            )

        return self._run(done, cpu)

    def step_out(self, cpu: int) -> Stop:
        """Run until ``cpu`` is back where its function was called from: at its X30, with its SP or above."""
        pe = self.pe(cpu)
        target, sp = self.places.pa(pe.x[30]), pe.x[31]
        return self._run(lambda ran: ran == cpu and self.places.pa(pe.pc) == target and pe.x[31] >= sp, cpu)

    def until_other(self) -> Stop:
        """Run until another CPU than the last one acts."""
        now = self.machine.current
        return self._run(lambda ran: ran != now, -1)

    def go_on(self, cpu: int = -1) -> Stop:
        """Run until something stops it; of a CPU until that cannot go on, where others are not scheduled."""
        return self._run(lambda _ran: False, cpu)

    def leave_loop(self, cpu: int) -> Stop:
        """Run ``cpu`` alone, at full speed, until it is out of the innermost loop around its PC.

        A loop without an end is left alone after LEAVE_STEPS.
        """
        pe = self.pe(cpu)
        loop = self.places.loop(pe.pc)
        if loop is None or not self.machine.is_runnable(cpu) or self.machine.actors[cpu].task is not None:
            return Stop("step", cpu, "no loop around the PC")
        first, last, exits = loop
        row = len(self.machine.trace)
        steps = self.machine.run_alone(cpu, exits, LEAVE_STEPS)
        # What was done on the way belongs to the first step: going there is going to before the loop.
        self._cpus.extend([cpu | _FORCED] * steps)
        self._pcs.extend([0] * steps)
        self._rows.extend([row, *[len(self.machine.trace)] * (steps - 1)][:steps])
        self.position += steps
        self._save()
        if self.machine.stopped:
            self.ended = True
            return Stop("end", cpu, self.machine.stopped)
        what = "still in" if first <= pe.pc <= last and self.machine.is_runnable(cpu) else "left"
        where = self.places.describe(pe.pc)
        return Stop("step", cpu, f"{what} {first:#x}..{last:#x} after {steps} instructions, at {where}")

    def run_to(self, position: int) -> Stop:
        """Run to a position, stopping at nothing."""
        machine, settings = self.machine, self.settings
        while self.position < position:
            choose = settings.forced.pop(self.position, -1)
            if not self._one(choose):
                return Stop("end", machine.current, machine.stopped or "nobody can go on")
        return Stop("goal", machine.current)

    def _run(self, done: Callable[[int], bool], cpu: int) -> Stop:
        # Step until `done` or a stop; `cpu` is the one that is stepped, or -1 for all alike.
        machine, settings = self.machine, self.settings
        looks = 0
        alone = settings.others is not Others.SCHEDULE and cpu >= 0
        while True:
            choose = settings.forced.pop(self.position, -1)
            if choose < 0 and alone:
                if not machine.is_runnable(cpu):
                    if settings.others is Others.STAND or not self._let_others(cpu):
                        return Stop("step", cpu, f"CPU{cpu} cannot go on: {self.state(cpu)}")
                    continue
                choose = cpu
            if not self._one(choose):
                self.ended = True
                return Stop("end", max(machine.current, 0), machine.stopped or "nobody can go on")
            ran = machine.current
            stop = self._stopped(ran)
            if stop is not None:
                return stop
            if done(ran):
                if settings.others is Others.FREE and cpu >= 0:
                    self._let_others(cpu)
                return Stop("step", ran)
            looks += 1
            if looks >= _LOOK_STEPS:
                looks = 0
                if self.interrupted():
                    return Stop("interrupt", ran, "interrupted")

    def _one(self, choose: int) -> bool:
        # One step, with what is kept of it.
        machine = self.machine
        if self.settings.edits:
            self._edit_again()
        rows = len(machine.trace)
        if not machine.step(choose):
            return False
        self._cpus.append(machine.current | _FORCED if choose >= 0 else machine.current)
        self._pcs.append(machine.pc_before)
        self._rows.append(rows)
        self.position += 1
        if self.position % CHECKPOINT_STEPS == 0:
            self._save()
        return True

    def _edit_again(self) -> None:
        for edit in self.settings.edits.get(self.position, ()):
            edit.apply(self.machine)

    def _let_others(self, cpu: int) -> bool:
        # Every other CPU as much as it can; False when none could do anything.
        machine, moved = self.machine, False
        for other in self.cpus:
            for _ in range(FREE_STEPS):
                if other == cpu or not machine.is_runnable(other) or not self._one(other):
                    break
                moved = True
        return moved

    def _stopped(self, ran: int) -> Stop | None:
        # Whether what was just done is something to stop at.
        settings, machine = self.settings, self.machine
        first, last = self._rows[-1], len(machine.trace)
        if first != last and (settings.watchpoints or settings.events or settings.breakpoints):
            stop = self._touched(first, last)
            if stop is not None:
                return stop
        if settings.breakpoints:
            actor = machine.actors[ran]
            if actor.task is None and actor.state is State.RUNNABLE:
                return self._at_breakpoint(ran)
        return None

    def _touched(self, first: int, last: int) -> Stop | None:
        # Watchpoints and events among these records of the trace; CPUs that were switched on.
        settings, trace = self.settings, self.machine.trace
        found: Stop | None = None
        for index in range(first, last):
            kind, size, actor, pc, pa, value = trace.row(index)
            if kind in _WRITES or kind in _READS:
                found = found or self._watched(kind, size, actor, pa)
            elif kind == Kind.POWER_ON and settings.breakpoints and found is None:
                found = self._at_breakpoint(actor)
            event = Event.WFE if kind == Kind.WFE and value else _EVENT_KINDS.get(Kind(kind))
            if event in settings.events and found is None:
                what = trace.strings[value] if kind == Kind.LOG else self.places.describe(pc)
                found = Stop("event", actor, f"{event.value}: {what}")
        return found

    def _watched(self, kind: int, size: int, actor: int, pa: int) -> Stop | None:
        for watch in self.settings.watchpoints.values():
            if not (pa < watch.pa + watch.size and watch.pa < pa + size):
                continue
            now = self.read(watch.pa, watch.size)
            changed, watch.value = now != watch.value, now
            wanted = {
                "write": kind in _WRITES,
                "read": kind in _READS,
                "access": True,
                "change": kind in _WRITES and changed,
            }
            if wanted[watch.access] and watch.cpu in (-1, actor):
                watch.hits += 1
                return Stop("watchpoint", actor, watch.text, watch.number, pa)
        return None

    def _at_breakpoint(self, cpu: int) -> Stop | None:
        pa = self.places.pa(self.pe(cpu).pc)
        for made in list(self.settings.breakpoints.values()):
            if made.pa != pa or made.cpu not in (-1, cpu):
                continue
            if made.condition and not self.evaluate(made.condition, cpu):
                continue
            made.hits += 1
            if made.temporary:
                del self.settings.breakpoints[made.number]
            return Stop("breakpoint", cpu, made.text, made.number)
        return None

    # -- backwards --------------------------------------------------------------------------------

    @property
    def can_go_back(self) -> bool:
        """Whether there are checkpoints."""
        return self._timeline is not None

    def _save(self) -> None:
        if self._timeline is not None:
            self._timeline.save(self.position)

    def go_back(self, position: int, payload: Any = None, fds: tuple[int, ...] = ()) -> None:
        """Go to an earlier position. Does not return: whoever catches Travelled calls :meth:`arrive`.

        :param payload: what the front end wants to find again where it arrives
        """
        assert self._timeline is not None, "a session without a timeline does not go back"
        assert 0 <= position <= self.position
        settings = self.settings
        settings.forced = {
            at: self._cpus[at] & _CPU_MASK
            for at in range(self._timeline.before(position), self.position)
            if self._cpus[at] & _FORCED
        }
        self._timeline.travel(position, (settings, payload), fds)

    def arrive(self, target: int, packed: tuple[Settings, Any]) -> Any:
        """Go on to where a travel was bound for; return the front end's payload."""
        settings, payload = packed
        self.settings = settings
        self.ended = False
        if target - self.position > 2 * NEAR_STEPS:  # whoever goes back once will go back again
            self.run_to(target - NEAR_STEPS)
            self._save()
        self.run_to(target)
        self._edit_again()
        for watch in settings.watchpoints.values():
            watch.value = self.read(watch.pa, watch.size)
        return payload

    def before(self, cpu: int) -> int | None:
        """Return the position before the last step of ``cpu``, or None when it has done none."""
        for position in range(self.position - 1, -1, -1):
            if self._cpus[position] & _CPU_MASK == cpu:
                return position
        return None

    def back_to_stop(self) -> tuple[int, Stop]:
        """Return the last earlier position at which a breakpoint or watchpoint would have stopped, and why.

        Of a breakpoint the position before its instruction, of a watchpoint the one before the access. The
        start when there is none. Conditions are not looked at: they would need the registers of then.
        """
        settings = self.settings
        places = {made.pa: made for made in settings.breakpoints.values()}
        for position in range(self.position - 1, -1, -1):
            cpu, pc = self.stepped(position)
            for index in self.rows_of(position) if settings.watchpoints else ():
                kind, size, actor, _pc, pa, _value = self.machine.trace.row(index)
                for watch in settings.watchpoints.values():
                    touched = pa < watch.pa + watch.size and watch.pa < pa + size
                    kinds = _BACK.get(watch.access, _WRITES)
                    if touched and kind in kinds and watch.cpu in (-1, actor):
                        return position, Stop("watchpoint", actor, watch.text, watch.number, pa)
            made = places.get(self.places.pa(pc)) if pc else None
            if made is not None and made.cpu in (-1, cpu):
                return position, Stop("breakpoint", cpu, made.text, made.number)
        return 0, Stop("start", self.settings.cpu, "the start of the recording")

    def steps_back(self) -> Iterator[tuple[int, int, int]]:
        """Yield (position, CPU, PC) of the steps done, the last first."""
        for position in range(self.position - 1, -1, -1):
            yield (position, *self.stepped(position))


_X = {f"x{number}": number for number in range(31)}


class _On:
    # One CPU of a session, as expressions see it.

    def __init__(self, session: Session, cpu: int) -> None:
        self._session = session
        self._cpu = cpu

    def value_of(self, name: str) -> int | None:
        pe = self._session.pe(self._cpu)
        if name in _X:
            return int(pe.x[_X[name]])
        found = {"sp": pe.x[31], "pc": pe.pc, "el": pe.el, "cpu": self._cpu, "hwid": hwid(pe.mpidr)}
        if name in found:
            return int(found[name])
        return self._session.boot.guest.subject.symbols.address(name)

    def read_at(self, address: int, size: int) -> bytes:
        return self._session.read(self._session.places.pa(address), size)
