"""The machine: actors, memory, one clock each, and the loop that lets a scheduler pick who goes next.

An actor is a CPU. It runs guest code on its PE, or a host task (a generator that yields operations) that
plays firmware or kernel C code on that CPU; both are scheduled alike. Only the machine writes its trace.

This is one file because whatever changes an actor's state, a clock or the trace has this one owner.
"""

from __future__ import annotations

import signal
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

from emu.actor import Actor, Grain, HostTask, State, function_name, location
from emu.arch import sysreg
from emu.cpu.attributes import access_is_cacheable
from emu.cpu.engine import LINE_SHIFT, UNLIMITED, Engine
from emu.cpu.interconnect import Interconnect, LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import (
    Call,
    ConstraintViolation,
    Raised,
    Reached,
    SelfBranch,
    StepLimit,
    Stop,
    Unsupported,
    Waiting,
)
from emu.errors import ReplayDiverged
from emu.latency import PROFILES
from emu.memory import Memory
from emu.models.protocol import MachineMemory, MemoryModel
from emu.operation import (
    EVENTS,
    Again,
    AtomicUpdate,
    Barrier,
    CacheOp,
    Copy,
    DeferLog,
    Delay,
    FirmwareCall,
    FlushDeferred,
    GuestCall,
    Kind,
    Load,
    LoadUntil,
    Log,
    Operation,
    Park,
    Poll,
    Reboot,
    Register,
    Reported,
    SendEvent,
    SendInterrupt,
    Store,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.outcome import OFF, End, Outcome
from emu.schedulers import Pick, Scheduler, Steering
from emu.trace import Trace

SLICE = 1 << 20  # instructions a PE runs at free speed before others get a turn
TASK_SLICE = 1 << 10  # operations of a host task, likewise
# What busy actors do before a delayed one gets a turn although its time has not come: picks, and
# instructions and operations.
SPIN_PICKS = 1 << 16
SPIN_INSTRUCTIONS = 1 << 22
_TASK_EVENTS = frozenset(EVENTS)
_EC_SVC, _EC_HVC, _IL = 0x15, 0x16, 1 << 25


class Standing(NamedTuple):
    """Where an actor stands (:class:`emu.actor.Actor` has the meanings)."""

    state: State
    task: HostTask | None
    suspended: HostTask | None
    pending: Operation | None
    outcome: Outcome | None
    landings: int


_KEPT = [
    (register, getattr(sysreg, register.name))
    for register in Register
    if register not in (Register.SP, Register.SP_EL0, Register.EL, Register.MPIDR_EL1, Register.X19)
]


class Firmware(Protocol):
    """EL3 or the hypervisor: answers the calls of one conduit (``"smc"`` or ``"hvc"``)."""

    conduit: str

    def call(self, machine: Machine, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Return x0 (signed), or None when the call does not return (CPU_OFF)."""


class SystemInterconnect(LocalInterconnect):
    """What the PEs of a machine do to each other, to its memory model and to its trace."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Put the operation into the trace."""
        self._machine.trace.add(kind, pe.index, size, va, pa, value)

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Ask the memory model for what the access finds."""
        machine = self._machine
        word = machine.engine.word(va)
        assert machine.domain is not None
        assert word is not None, "it is being executed"
        cacheable = access_is_cacheable(pe, word, va, machine.memory)
        machine.domain.access(pa, size, cacheable, is_store)

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Let the memory model clean or invalidate the line of the VA ``operand``."""
        machine = self._machine
        assert machine.domain is not None
        pa = machine.engine.translate_live(operand)
        if pa is not None and machine.memory.contains(pa, 1):
            machine.domain.maintain(word, pa)

    def send_event(self, pe: PE) -> None:
        """Set the event register of every CPU that is on, and wake every sleeper."""
        self._machine.send_event()

    def counter(self, pe: PE) -> int:
        """Return simulated time in ticks of 62.5 MHz."""
        return self._machine.read_counter()


class Machine:
    """CPUs on one memory. ``entry_el`` is 1 or 2: the highest level that is not firmware's."""

    def __init__(
        self,
        memory: Memory,
        scheduler: Scheduler,
        trace: Trace,
        make_engine: Callable[[Memory, Interconnect], Engine],
        *,
        grain: Grain = Grain.FREE,
        record: bool = False,
        latency: str = "nominal",
        instructions_max: int = UNLIMITED,
    ) -> None:
        self.memory = memory
        self.interconnect = SystemInterconnect(self)
        self.engine = make_engine(memory, self.interconnect)
        self.scheduler = scheduler
        attach = getattr(scheduler, "attach", None)
        if attach:
            attach(lambda cpu: self.actors[cpu].time)
        self._steering = scheduler if isinstance(scheduler, Steering) else None
        self.trace = trace
        self.grain = grain
        self.recording = record
        self.domain: MachineMemory | None = None
        self.latency = PROFILES[latency]
        self.instructions_max = instructions_max
        self.actors: list[Actor] = []
        self.firmware: Firmware | None = None
        self.entry_el = 1
        self.now = 0  # ns; the latest time any actor has got to
        self.picks = 0
        self.stopped = ""  # why run() ended early
        self._landings: dict[int, Callable[[int], HostTask]] = {}
        self._runnable: list[int] = []
        self._timers: list[tuple[int, int, int, Callable[[], None] | None]] = []
        self._timer_number = 0
        self._spinning: dict[int, list[int]] = {}  # PA to the CPUs whose LoadUntil reads it
        self._code_lines = self.engine.code_lines
        self._intercepts: dict[int, Callable[[int], None]] = {}
        self.return_va = 0  # where a GuestCall returns to: an address whose instruction never runs
        self._waiting: set[int] = set()
        self._current = -1
        self.pc_before = 0  # of the step that was done last; 0: a host task did it
        self._quiet_picks = 0
        self._quiet_until = 0
        self._begun = 0  # instructions, and operations of host tasks
        self._counter_reads = 0
        self._events_at_reset: dict[int, bool] = {}
        self._has_run = {0}
        self._next_boot: Callable[[], None] | None = None
        self._unfinished = -1  # the CPU whose recorded operation is under way
        self.held: dict[int, list[int]] = {}  # CPU to lines of dmesg that come out later (their strings)

    # -- building ---------------------------------------------------------------------------------

    def use_model(self, model: MemoryModel, granule: int) -> None:
        """Let ``model`` say what accesses find, in units of ``granule`` bytes.

        With a model that is more than memory alone, every operation is recorded.
        """
        self.domain = model.on_machine(self.memory, granule, self._note)
        if self.domain is not None:
            self.recording = True

    def _note(self, kind: Kind, pa: int, value: int, size: int) -> None:
        self.trace.add(kind, max(self._current, 0), size, 0, pa, value)

    def add_cpu(self, mpidr: int, midr: int, overrides: dict[sysreg.Encoding, int]) -> Actor:
        """Add the next CPU, switched off; ``mpidr`` and ``midr`` are raw u64."""
        pe = self.engine.new_pe(len(self.actors), mpidr, midr, self.entry_el)
        for encoding, value in overrides.items():
            pe.override(encoding, value)
        actor = Actor(pe)
        self.actors.append(actor)
        return actor

    def land_at(self, va: int, task: Callable[[int], HostTask]) -> None:
        """When a CPU's PC gets to ``va``, go on with the host task ``task(cpu)`` in its stead."""
        self._landings[va] = task
        self.engine.break_at(va)

    def start_task(self, cpu: int, task: HostTask) -> None:
        """Let ``task`` run on ``cpu`` now."""
        actor = self.actors[cpu]
        actor.task = task
        actor.outcome = None
        self._advance_task(cpu, actor, None)

    def power_on(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        """Switch ``cpu`` on at ``entry_pa`` (PA) with x0 given, MMU off, at ``el`` or the entry EL."""
        actor = self.actors[cpu]
        actor.pe.event = self._events_at_reset.setdefault(cpu, actor.pe.event)
        self.engine.reset(actor.pe, el or self.entry_el, entry_pa, x0)
        actor.task = actor.suspended = None
        actor.outcome = None
        caller = self.actors[self._current].time if self._current >= 0 else 0
        actor.time = max(actor.time, self.now, caller)
        self._has_run.add(cpu)
        self._event(Kind.POWER_ON, cpu, entry_pa, x0)
        self._set(cpu, State.RUNNABLE)

    def power_off(self, cpu: int) -> None:
        """Switch ``cpu`` off."""
        actor = self.actors[cpu]
        self._event(Kind.POWER_OFF, cpu, actor.pe.pc, 0)
        self.interconnect.clear_exclusive(actor.pe)
        actor.task = actor.suspended = actor.pending = None
        actor.outcome = None
        actor.interrupt = False
        self._set(cpu, State.OFF)

    @property
    def firmware_conduit(self) -> str:
        """``"smc"``, ``"hvc"``, or nothing without firmware."""
        return self.firmware.conduit if self.firmware else ""

    def firmware_result(self, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int:
        """Ask the firmware outside a run, as a booting primary does; 0 for a call that does not return."""
        assert self.firmware is not None
        return self.firmware.call(self, cpu, function_id & 0xFFFF_FFFF, x1, x2, x3) or 0

    def call_later(self, ns: int, cpu: int, action: Callable[[], None]) -> None:
        """Let firmware do something about ``cpu`` when ``ns`` have passed for the CPU that runs now."""
        now = self.actors[self._current].time if self._current >= 0 else self.now
        self._timer(now + ns, cpu, action)

    def intercept(self, va: int, handler: Callable[[int], None]) -> None:
        """Do ``handler(cpu)`` in place of the guest's function at ``va``."""
        self._intercepts[va] = handler
        self.engine.break_at(va)

    def allow_guest_calls(self, return_va: int) -> None:
        """Let host tasks call guest functions, which return to ``return_va``: no code runs there."""
        self.return_va = return_va
        self.engine.break_at(return_va)

    def record_instructions(self, fetch: Callable[[int], int | None]) -> None:
        """Keep every instruction of PEs in the trace; ``fetch`` gives the word at a VA, or None."""
        self.trace.record_instructions(self.engine.record_steps(), fetch)

    def record_times(self) -> None:
        """Let the trace have the simulated time (ns) of each record."""
        self.trace.record_times(self._time_of)

    def _time_of(self, cpu: int) -> int:
        actor = self.actors[cpu]
        if cpu != self._current or actor.task is not None:
            return actor.time
        in_flight = self.engine.begun * self.latency.instruction
        return actor.time + self.latency.of(actor.pe.counters) - actor.spent + in_flight

    def watch_stores(self, pa: int, size: int) -> None:
        """Keep every store of a PE to these bytes in the trace, whatever else is recorded."""
        self.engine.watch_stores(range(pa, pa + size))

    def log(self, line: str, reported: Reported | None = None) -> None:
        """Add one line of dmesg, and what it says of a CPU, to the trace, from the CPU that runs now."""
        self._log(max(self._current, 0), line, reported)

    def _log(self, cpu: int, line: str, reported: Reported | None) -> None:
        number = self.trace.string(line)
        self._event(Kind.LOG, cpu, 0, number, self.actors[cpu].time)
        if reported is not None:
            what, about, detail = reported
            self._event(Kind.REPORT, about if about >= 0 else cpu, 0, number, detail, what)

    def send_event(self) -> None:
        """SEV: set the event register of every CPU that is on, and wake every sleeper."""
        for actor in self.actors:
            if actor.state is not State.OFF:
                actor.pe.event = True
        for cpu in sorted(self._waiting):
            self._wake(cpu)

    @staticmethod
    def registers(pe: PE) -> list[tuple[Register, int]]:
        """Return what is kept of a PE when it lands."""
        kept: list[tuple[Register, int]] = [(r, pe.sysreg(encoding)) for r, encoding in _KEPT]
        kept += [(Register.SP, pe.sp), (Register.SP_EL0, pe.stack_pointer(0))]
        kept += [(Register.EL, pe.el), (Register.MPIDR_EL1, pe.mpidr), (Register.X19, pe.x[19])]
        return kept

    # -- where an actor stands --------------------------------------------------------------------

    def standing(self, cpu: int) -> Standing:
        """Return where ``cpu`` stands, but for the state of its PE."""
        actor = self.actors[cpu]
        return Standing(
            actor.state, actor.task, actor.suspended, actor.pending, actor.outcome, actor.landings
        )

    def set_standing(self, cpu: int, standing: Standing) -> None:
        """Put ``cpu`` where ``standing`` says, at time 0; its PE is left alone."""
        actor = self.actors[cpu]
        self._set(cpu, standing.state)
        actor.task, actor.suspended, actor.pending = standing.task, standing.suspended, standing.pending
        actor.outcome, actor.landings = standing.outcome, standing.landings
        actor.time = actor.waited = actor.spent = 0
        actor.pe.reset_counters()
        self.stopped = ""
        self._begun = self._counter_reads = self.now = 0
        self._current = cpu
        self._timers.clear()
        self._spinning.clear()

    def outcome(self, cpu: int) -> Outcome:
        """Return how ``cpu`` has ended, or would if it did nothing more."""
        return _outcome(self.actors[cpu])

    def ending(self, cpu: int) -> tuple[Outcome, int]:
        """Return how ``cpu`` would end if it did nothing more, and the VA."""
        actor = self.actors[cpu]
        asleep = actor.state is State.WAITING
        return _outcome(actor), actor.pe.pc - 4 if asleep else actor.pe.pc

    def wake(self, cpu: int) -> None:
        """End the WFE or WFI in which ``cpu`` sleeps; an event or interrupt does it, or nothing."""
        before, self._current = self._current, cpu
        if self.actors[cpu].state is State.WAITING:
            self._wake(cpu)
        else:
            self._interrupt(cpu)
        self._current = before

    def is_landing(self, va: int) -> bool:
        """Tell whether a PE that comes to ``va`` stops there and the host does something."""
        return va in self._landings or va in self._intercepts or (va == self.return_va and va != 0)

    def landing(self, va: int) -> Callable[[int], HostTask]:
        """Return what makes the task that goes on at ``va``."""
        return self._landings[va]

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Let the actors run until none can, or a limit ends the run (``stopped`` says which).

        :raises KeyboardInterrupt: between two picks, so that the machine can still be looked at
        """
        self.observe()
        with _interrupts_kept() as kept:
            while self.step():
                if kept:
                    raise KeyboardInterrupt

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Run PEs by hand in the middle of a run, as before it: nothing is counted or recorded."""
        self.engine.unobserve()
        try:
            yield
        finally:
            self.observe()

    def go_on(self, instructions: int) -> None:
        """Let a run that is over be followed by another, of so many instructions at most."""
        self.stopped = ""
        self.instructions_max = self._begun + instructions

    def observe(self) -> None:
        """From now on count accesses, and keep operations in the trace where ``recording`` says so."""
        self.engine.observe(record=self.recording, accesses=self.domain is not None)

    def run_alone(self, cpu: int, exits: Iterable[int], instructions: int = UNLIMITED) -> int:
        """Run the PE of ``cpu`` at full speed until its PC is at one of ``exits`` (VAs), or until it stops.

        :param instructions: at most so many
        :return: instructions retired
        """
        actor, engine = self.actors[cpu], self.engine
        assert actor.task is None, f"CPU{cpu} runs a host task"
        assert actor.state is State.RUNNABLE, f"CPU{cpu} is {actor.state.value}"
        places = [va for va in exits if va not in self._landings and va not in self._intercepts]
        for va in places:
            engine.break_at(va)
        self._current = cpu
        before = actor.pe.counters.instructions
        stop = engine.run(actor.pe, max(1, min(instructions, self.instructions_max - self._begun)))
        retired = actor.pe.counters.instructions - before
        self._begun += retired
        spent = self.latency.of(actor.pe.counters)
        actor.time += spent - actor.spent
        actor.spent = spent
        self.now = max(self.now, actor.time)
        for va in places:
            engine.unbreak(va)
        if self._begun >= self.instructions_max:
            self._limit()
        if stop.__class__ is not StepLimit and not (isinstance(stop, Reached) and stop.va in places):
            self._handle(cpu, actor, stop)
        return retired

    def finish(self) -> None:
        """Say in the trace why the run was cut off, if it was, and where every CPU ended."""
        if self.stopped:
            self._event(Kind.STOPPED, 0, 0, self.trace.string(self.stopped))
        for actor in self.actors:
            actor.outcome = _outcome(actor)
        self._say_outcomes()
        self.trace.flush()

    def _say_outcomes(self) -> None:
        for cpu, actor in enumerate(self.actors):
            if actor.state is State.ENDED:
                continue  # it has said so
            at = actor.pe.pc - 4 if actor.state is State.WAITING else actor.pe.pc
            self.trace.add_outcome(cpu, at, _outcome(actor))

    # -- one boot after another -------------------------------------------------------------------

    def end_boot(self, cpu: int, next_boot: str) -> None:
        """Put into the trace how every CPU ends, and that ``cpu`` ends the boot now.

        :param next_boot: the subject that boots next
        """
        self._say_outcomes()
        self._event(Kind.SHUTDOWN, cpu, 0, 0)
        self._event(Kind.NEXT_BOOT, cpu, 0, self.trace.string(next_boot))

    def has_run(self, cpu: int) -> bool:
        """Tell whether ``cpu`` has ever left firmware: it was switched on, or was a boot CPU."""
        return cpu in self._has_run

    def begin_boot(self, order: Sequence[int]) -> list[int]:
        """Let actor ``order[i]`` be logical CPU i from now on; return it with those behind that it left out.

        The boot before is forgotten: landings, intercepts, watched stores, counters. Power states, what PEs
        execute, event registers and clocks are kept.
        """
        named = set(order)
        order = [*order, *(cpu for cpu in range(len(self.actors)) if cpu not in named)]
        new = {old: number for number, old in enumerate(order)}
        self.actors = [self.actors[old] for old in order]
        for number, actor in enumerate(self.actors):
            actor.pe.index = number
            actor.pe.reset_counters()
            actor.spent = actor.landings = 0
        self._current = new.get(self._current, -1)
        self._runnable[:] = sorted(new[cpu] for cpu in self._runnable)
        self._waiting = {new[cpu] for cpu in self._waiting}
        self._spinning = {pa: [new[cpu] for cpu in cpus] for pa, cpus in self._spinning.items()}
        self._timers[:] = [(when, number, new[cpu], action) for when, number, cpu, action in self._timers]
        self._has_run = {0} | {new[cpu] for cpu in self._has_run}
        self._events_at_reset = {new[cpu]: event for cpu, event in self._events_at_reset.items()}
        for va in (*self._landings, *self._intercepts, self.return_va):
            self.engine.unbreak(va)
        self._landings.clear()
        self._intercepts.clear()
        self.return_va = 0
        self.engine.watch_stores(range(0))
        for number, old in enumerate(order):
            is_on = self.has_run(number) and self.actors[number].state is not State.OFF
            self._event(Kind.REENTRY, number, 0, old, size=int(is_on))
        for number, actor in enumerate(self.actors):
            if actor.state is State.ENDED and actor.outcome:
                self.trace.add_outcome(number, actor.pe.pc, actor.outcome)
        return order

    def set_id_registers(self, cpu: int, values: Mapping[sysreg.Encoding, int]) -> None:
        """Make these registers, and no others, read differently on ``cpu``."""
        self.actors[cpu].pe.set_overrides(self.entry_el, values)

    @property
    def current(self) -> int:
        """The CPU that ran last, -1 before the first."""
        return self._current

    def is_runnable(self, cpu: int) -> bool:
        """Tell whether ``cpu`` can do its next step now."""
        return self.actors[cpu].state is State.RUNNABLE

    def _follow(self, pick: Pick) -> int:
        # Do a pick of a recorded schedule that is no step of a CPU, or give the CPU that is to run: -1, none.
        kind, number = pick
        if kind == "run" or kind == "timeout":
            actor = self.actors[number] if number < len(self.actors) else None
            if actor is None or actor.state not in (State.RUNNABLE, State.SPINNING, State.DELAYED):
                what = actor.state.value if actor else "not there"
                raise ReplayDiverged(f"schedule: pick {self.picks}: CPU{number} is {what}, not runnable")
            if kind == "timeout" and isinstance(actor.pending, Poll):
                actor.waited = actor.pending.timeout_ns + 1
            self._set(number, State.RUNNABLE)
            return number
        if kind == "wake":
            if number not in self._waiting:
                raise ReplayDiverged(f"schedule: pick {self.picks}: CPU{number} is not asleep in WFE")
            self._wake(number)
        elif kind == "start":
            timer = next((t for t in sorted(self._timers) if t[2] == number and t[3] is not None), None)
            if timer is None:
                raise ReplayDiverged(f"schedule: pick {self.picks}: no start of CPU{number} is pending")
            self._timers.remove(timer)
            heapify(self._timers)
            assert timer[3] is not None
            timer[3]()
        else:
            if self.domain is None:
                raise ReplayDiverged(f"schedule: pick {self.picks}: a cache line, without memory=caches")
            current, self._current = self._current, -1  # nobody's doing
            try:
                self.domain.choose(number, kind)
            except ValueError as error:
                raise ReplayDiverged(f"schedule: pick {self.picks}: {number:#x}: {error}") from None
            self._current = current
        self.picks += 1
        return -1

    def step(self, choose: int = -1) -> bool:
        """Let the scheduler pick one actor and run it for one grain; False when the run is over.

        :param choose: the CPU that runs instead of the scheduler's; it must be runnable
        """
        if self._next_boot is not None:
            begin, self._next_boot = self._next_boot, None
            begin()
        runnable = self._runnable
        steered = self._steering is not None and choose < 0
        if steered and self._unfinished >= 0:
            choose = self._unfinished
        pick = self._steering.next_pick() if self._steering is not None and choose < 0 else None
        if pick is not None:
            choose = self._follow(pick)
            if choose < 0:
                return True
        elif self._timers:
            self._quiet_picks += 1
            while self._timers and (
                not runnable
                or self._timers[0][0] <= self.now
                or self._quiet_picks > SPIN_PICKS
                or self._begun > self._quiet_until
            ):
                deadline, _, cpu, action = heappop(self._timers)
                self.now = max(self.now, deadline)
                self._quiet_picks = 0
                self._quiet_until = self._begun + SPIN_INSTRUCTIONS
                if action:
                    action()
                elif self.actors[cpu].state is State.DELAYED and self.actors[cpu].deadline == deadline:
                    self._set(cpu, State.RUNNABLE)
        if not runnable or self.stopped:
            return False
        if choose >= 0:
            cpu = choose
        else:
            cpu = runnable[0] if len(runnable) == 1 else self.scheduler.pick(runnable, self._current)
        self._current = cpu
        self.picks += 1
        actor = self.actors[cpu]
        if actor.task is not None:
            self.pc_before = 0
            self._run_task(cpu, actor)
        else:
            self.pc_before = actor.pe.pc
            self._run_pe(cpu, actor)
        if steered and self.grain is Grain.INSTRUCTION:
            # A pick is an operation, with all that comes before the next one.
            goes_on = actor.task is None and actor.state is State.RUNNABLE
            self._unfinished = cpu if goes_on and not self.engine.at_operation(actor.pe) else -1
        if actor.time > self.now:
            self.now = actor.time
        for pe in self.interconnect.woken:
            if pe.index in self._waiting:
                self._wake(pe.index)
        self.interconnect.woken.clear()
        if self.domain is not None:
            self.domain.settle()
        return True

    def _run_pe(self, cpu: int, actor: Actor) -> None:
        pe = actor.pe
        before = pe.counters.instructions
        if self.trace.steps is not None:
            self.trace.turn(cpu)
        if self.grain is Grain.FREE:
            stop = self.engine.run(pe, max(1, min(SLICE, self.instructions_max - self._begun)))
        elif self.grain is Grain.OPERATION:
            stop = self.engine.run_operation(pe)
        else:
            stop = self.engine.step(pe)
        self._begun += pe.counters.instructions - before
        if self.trace.steps is not None and (
            stop.__class__ is not StepLimit or self._begun >= self.instructions_max
        ):
            self.engine.take_state(pe)
            self.trace.stopped()
        spent = self.latency.of(pe.counters)
        actor.time += spent - actor.spent
        actor.spent = spent
        if stop.__class__ is not StepLimit:
            self._handle(cpu, actor, stop)
        if self._begun >= self.instructions_max:
            self._limit()

    def _limit(self) -> None:
        self.stopped = f"limit of {self.instructions_max} instructions"

    def _handle(self, cpu: int, actor: Actor, stop: Stop) -> None:
        pe = actor.pe
        match stop:
            case Waiting(wfi=False):
                self._set(cpu, State.WAITING)
            case Waiting():
                self._end(cpu, Outcome(End.WAITS_FOR_INTERRUPT), pe.pc - 4)
            case Call():
                self._call(cpu, actor, stop)
            case Raised():
                self._raise(cpu, actor, stop)
            case Reached(va) if va in self._intercepts:
                self._intercepts[va](cpu)
                pe.pc = pe.x[30]
            case Reached(va) if va == self.return_va and actor.suspended is not None:
                actor.task, actor.suspended = actor.suspended, None
                self._advance_task(cpu, actor, pe.x[0])
            case Reached(va) if va in self._landings:
                self._land(cpu, actor, va)
            case Reached(va):
                self.stopped = f"CPU {cpu} at the breakpoint {va:#x}"
            case SelfBranch(va):
                self._record_now(Kind.PARK, cpu, va, 0, 0)
                self._end(cpu, Outcome(End.SELF_BRANCH), va)
            case ConstraintViolation(rule, va, pa):
                self._event(Kind.MISUSE, cpu, va, self.trace.string(rule), pa)
                self._end(cpu, Outcome(End.CONSTRAINT_VIOLATION, rule), va)
            case Unsupported(what, va):
                self._event(Kind.UNSUPPORTED, cpu, va, self.trace.string(what))
                self._end(cpu, Outcome(End.UNMODELLED, what), va)

    def _land(self, cpu: int, actor: Actor, va: int) -> None:
        pe = actor.pe
        actor.landings += 1
        self._event(Kind.LAND, cpu, va, actor.landings)
        self.trace.add_registers(cpu, va, self.registers(pe))
        actor.task = self._landings[va](cpu)
        self._advance_task(cpu, actor, None)

    def _raise(self, cpu: int, actor: Actor, raised: Raised) -> None:
        pe = actor.pe
        if raised.target_el > 2:
            what = f"exception to EL3, ESR {raised.syndrome:#x}"
            self._handle(cpu, actor, Unsupported(what, raised.preferred_return))
            return
        at, ec = raised.preferred_return, raised.syndrome >> 26
        if at == pe.vector(raised) and ec not in (_EC_SVC, _EC_HVC):
            # The vector's own first instruction raises, and would for ever. SVC and HVC return behind it.
            end = End.VECTOR_WITHOUT_CODE if ec in (0x00, 0x20, 0x21, 0x22) else End.VECTOR_RAISES
            self._end(cpu, Outcome(end, number=raised.syndrome), at)
            return
        el = pe.take(raised)
        self._event(Kind.EXCEPTION, cpu, at, raised.syndrome, raised.far or 0, el)

    def _call(self, cpu: int, actor: Actor, call: Call) -> None:
        pe = actor.pe
        pe.counters.calls += 1
        if call.conduit != self.firmware_conduit:
            if call.conduit == "hvc" and self.entry_el == 2:
                self._raise(cpu, actor, Raised(_EC_HVC << 26 | _IL | call.immediate, None, 2, pe.pc))
            else:  # no EL2, or no EL3: the instruction is UNDEFINED
                pe.counters.instructions -= 1
                self._raise(cpu, actor, Raised(_IL, None, max(pe.el, 1), pe.pc - 4))
            return
        result = self._firmware_call(cpu, actor, pe.pc - 4, pe.x[0], pe.x[1], pe.x[2], pe.x[3])
        if result is not None:
            pe.x[0] = result & (2**64 - 1)

    def _firmware_call(
        self, cpu: int, actor: Actor, pc: int, function_id: int, x1: int, x2: int, x3: int
    ) -> int | None:
        assert self.firmware is not None, "a firmware call without firmware"
        self._event(Kind.CALL, cpu, pc, function_id, x1)
        self.trace.add(Kind.CALL_ARGS, cpu, 0, pc, x2, x3)
        result = self.firmware.call(self, cpu, function_id & 0xFFFF_FFFF, x1, x2, x3)
        if result is not None:
            self._event(Kind.RETURN, cpu, pc, result & (2**64 - 1))
        return result

    # -- host tasks -------------------------------------------------------------------------------

    def _run_task(self, cpu: int, actor: Actor) -> None:
        # At free speed until the task gives way or has had its slice, else one operation.
        cost, runnable = self.latency.host_operation, State.RUNNABLE
        done = 0
        slice_max = TASK_SLICE if self.grain is Grain.FREE else 1
        slice_max = min(slice_max, self.instructions_max - self._begun)
        while done < slice_max:
            done += 1
            operation = actor.pending
            assert operation is not None
            actor.time += cost
            kind = operation.__class__
            result: object = None
            if kind is Store:  # most are stores and loads
                self._host_store(cpu, *operation)
            elif kind is Load:
                result = self._host_load(cpu, *operation)
            else:
                result = self._perform(cpu, actor, operation)
                if actor.task is None:
                    break
                if actor.state is not runnable:
                    if actor.state in (State.WAITING, State.IDLE):
                        actor.pending = None  # resumed by the event or the interrupt
                    break  # or ended, or spinning: a store to the word makes it look again
            self._advance_task(cpu, actor, result)
            if actor.state is not runnable or actor.task is None or kind is Delay or self.stopped:
                break
        self._begun += done
        if self._begun >= self.instructions_max:
            self._limit()

    def _advance_task(self, cpu: int, actor: Actor, value: object) -> None:
        # Run the generator's own code up to its next operation; events on the way go to the trace.
        task = actor.task
        assert task is not None
        actor.pending = None
        actor.restarted = False
        try:
            operation = task.send(value)
            while operation.__class__ in _TASK_EVENTS:
                self._event_of_task(cpu, actor, operation)
                operation = task.send(None)
        except StopIteration as done:
            actor.task = None
            if done.value is not None:
                self.power_on(cpu, *done.value)
            else:
                self._set(cpu, State.ENDED)
            return
        actor.pending = operation
        actor.waited = 0
        if operation.__class__ is Delay:
            assert isinstance(operation, Delay)
            actor.deadline = actor.time + operation.ns
            self._set(cpu, State.DELAYED)
            self._timer(actor.deadline, cpu, None)
        elif actor.state is not State.RUNNABLE:
            self._set(cpu, State.RUNNABLE)

    def _event_of_task(self, cpu: int, actor: Actor, event: Operation) -> None:
        # What a task yields on the way to its next operation.
        string = self.trace.string
        match event:
            case Log(line, reported):
                self._log(cpu, line, reported)
            case Again():
                actor.restarted = True
            case DeferLog(owner, line):
                self.held.setdefault(owner, []).append(string(line))
                self._event(Kind.DEFERRED, cpu, 0, string(line), owner)
            case FlushDeferred(owner):
                self._event(Kind.FLUSHED, cpu, 0, 0, owner & 0xFFFF)
                for each in sorted(self.held) if owner < 0 else [owner]:
                    for number in self.held.pop(each, ()):
                        self._event(Kind.LOG, cpu, 0, number, actor.time)

    def _perform(self, cpu: int, actor: Actor, operation: Operation) -> object:
        # Do one operation of a host task but a load or store; give what the task gets for it.
        match operation:
            case AtomicUpdate(pa, expected, new, size):
                if self.domain is not None:
                    self.domain.access(pa, size, True, False)
                old = self.memory.read(pa, size)
                if expected is None or old == expected:
                    self._write(pa, size, new, True)
                self._record_host(Kind.ATOMIC, cpu, pa, new, size)
                return old
            case LoadUntil(pa, size, wanted):
                value = self._host_load(cpu, pa, size)
                if value == wanted or (wanted is None and value):
                    return value
                self._spinning.setdefault(pa, []).append(cpu)
                self._set(cpu, State.SPINNING)
            case Barrier(word):
                self._record_host(Kind.BARRIER, cpu, 0, word)
            case Poll(pa, size, _, timeout_ns):
                if actor.waited:
                    actor.time = max(actor.time, actor.deadline) + self.latency.host_operation
                    self._record_host(Kind.DELAY, cpu, 0, operation.pause(actor.waited - 1))
                value = self._host_load(cpu, pa, size)
                if operation.is_over(value):
                    return value
                if actor.waited > timeout_ns:
                    return None
                pause = operation.pause(actor.waited)
                actor.waited += pause
                actor.deadline = actor.time + pause
                self._set(cpu, State.DELAYED)
                self._timer(actor.deadline, cpu, None)
            case CacheOp(word, pa):
                if self.domain is not None:
                    self.domain.maintain(word, pa)
                self._record_host(Kind.CACHE, cpu, pa, word)
            case Copy(pa, data):
                self._copy(cpu, pa, data)
            case Reboot(begin):
                self._next_boot = begin
                actor.outcome = None
                actor.task = None
                self._set(cpu, State.ENDED)
            case SendEvent():
                self._record_host(Kind.SEV, cpu, 0, 0)
                self.send_event()
            case WaitForEvent():
                asleep = self.interconnect.wait_for_event(actor.pe)
                self._record_host(Kind.WFE, cpu, 0, int(asleep))
                if asleep:
                    actor.pe.counters.wfe_sleeps += 1
                    self._set(cpu, State.WAITING)
                    return None
                return True
            case SendInterrupt(target):
                self._record_host(Kind.SEND_INTERRUPT, cpu, 0, target)
                self._interrupt(target)
            case WaitForInterrupt():
                self._record_host(Kind.WFI, cpu, 0, int(not actor.interrupt))
                if not actor.interrupt:
                    self._set(cpu, State.IDLE)
                actor.interrupt = False
            case FirmwareCall(function_id, x1, x2, x3):
                actor.pe.counters.calls += 1
                actor.time += self.latency.call
                actor.spent += self.latency.call  # the counter has it too
                pc = self.trace.host_pc(location(actor.task))
                return self._firmware_call(cpu, actor, pc, function_id, x1, x2, x3)
            case GuestCall(va, arguments):
                actor.task, actor.suspended = None, actor.task
                for index, argument in enumerate(arguments):
                    actor.pe.x[index] = argument
                actor.pe.x[30] = self.return_va
                actor.pe.pc = va
            case Delay(ns):
                actor.time = max(actor.time, actor.deadline)
                self._record_host(Kind.DELAY, cpu, 0, ns)
            case Park(outcome):
                self._record_host(Kind.PARK, cpu, 0, 0)
                self._end(cpu, outcome, 0)
            case _:
                raise AssertionError(f"{operation}: an event is consumed before it gets here")
        return None

    def _host_load(self, cpu: int, pa: int, size: int, cacheable: bool = True, plain: bool = False) -> int:
        if self.domain is not None:
            self.domain.access(pa, size, cacheable, False)
        value = self.memory.read(pa, size)
        if self.recording:
            self._record_host(Kind.LOAD, cpu, pa, value, size)
        return value

    def _host_store(
        self, cpu: int, pa: int, value: int, size: int, cacheable: bool = True, plain: bool = False
    ) -> None:
        self._write(pa, size, value, cacheable)
        if self.recording:
            self._record_host(Kind.STORE, cpu, pa, value & (1 << 8 * size) - 1, size)

    def _record_host(self, kind: Kind, cpu: int, pa: int, value: int, size: int = 0) -> None:
        if self.recording:
            pc = self.trace.host_pc(location(self.actors[cpu].task))
            self.trace.add(kind, cpu, size, pc, pa, value)

    def _write(self, pa: int, size: int, value: int, cacheable: bool) -> None:
        # A store of the host: monitors, code and spinning tasks take note.
        if self.domain is not None:
            self.domain.access(pa, size, cacheable, True)
        self.memory.write(pa, size, value)
        if self.domain is not None:
            self.domain.settle()
        if self.interconnect.monitors_armed:
            self.interconnect.stored(None, pa, size)
        if pa >> LINE_SHIFT in self._code_lines:  # a host store is aligned: it lies in one line
            self.engine.forget_code()
        if pa not in self._spinning:
            return
        for cpu in self._spinning.pop(pa):
            spinner = self.actors[cpu]
            if spinner.state is State.SPINNING:
                spinner.time = max(spinner.time, self.actors[self._current].time)
                self._set(cpu, State.RUNNABLE)

    def poke(self, pa: int, data: bytes) -> None:
        """Store bytes from outside of the machine, as a debugger does: nobody has done it."""
        self.memory.write_bytes(pa, data)
        self.interconnect.stored(None, pa, len(data))
        self.engine.forget_code()  # and the TLB: it may have been a page table
        for word in [word for word in self._spinning if pa - 8 < word < pa + len(data)]:
            for cpu in self._spinning.pop(word):
                if self.actors[cpu].state is State.SPINNING:
                    self._set(cpu, State.RUNNABLE)

    def _copy(self, cpu: int, pa: int, data: bytes) -> None:
        # A store to each byte, which whoever executes there meets.
        self.memory.write_bytes(pa, data)
        self.interconnect.stored(None, pa, len(data))
        if self.engine.is_code(pa, len(data)):
            self.engine.forget_code()
        pc = self.trace.host_pc(location(self.actors[cpu].task))
        self._event(Kind.COPY, cpu, pc, len(data), pa)

    def _timer(self, deadline: int, cpu: int, action: Callable[[], None] | None) -> None:
        if not self._timers:  # nobody has been waiting
            self._quiet_picks = 0
            self._quiet_until = self._begun + SPIN_INSTRUCTIONS
        self._timer_number += 1
        heappush(self._timers, (deadline, self._timer_number, cpu, action))

    # -- states -----------------------------------------------------------------------------------

    def _set(self, cpu: int, state: State) -> None:
        actor = self.actors[cpu]
        old = actor.state
        if old is state:
            return
        if old is State.RUNNABLE:
            del self._runnable[bisect_left(self._runnable, cpu)]
        elif old is State.WAITING:
            self._waiting.discard(cpu)
        if state is State.RUNNABLE:
            insort(self._runnable, cpu)
        elif state is State.WAITING:
            self._waiting.add(cpu)
        actor.state = state

    def _wake(self, cpu: int) -> None:
        # The WFE completes and consumes the event.
        actor = self.actors[cpu]
        actor.pe.event = False
        actor.time = max(actor.time, self.now)
        self._event(Kind.WAKE, cpu, actor.pe.pc, 0)
        self._set(cpu, State.RUNNABLE)
        if actor.task is not None:
            waker, self._current = self._current, cpu  # what the task does is this CPU's
            self._advance_task(cpu, actor, True)
            self._current = waker

    def _interrupt(self, cpu: int) -> None:
        # An interrupt is pending until the CPU takes it; one that is off loses it.
        actor = self.actors[cpu]
        if actor.state is not State.IDLE:
            actor.interrupt = actor.state is not State.OFF
            return
        actor.time = max(actor.time, self.actors[self._current].time)
        self._event(Kind.WAKE, cpu, actor.pe.pc, 0)
        self._set(cpu, State.RUNNABLE)
        waker, self._current = self._current, cpu
        self._advance_task(cpu, actor, True)
        self._current = waker

    def end(self, cpu: int, outcome: Outcome) -> None:
        """Let ``cpu`` do nothing more."""
        self._end(cpu, outcome, self.actors[cpu].pe.pc)

    def _end(self, cpu: int, outcome: Outcome, at: int) -> None:
        self.actors[cpu].outcome = outcome
        self.trace.add_outcome(cpu, at, outcome)
        self._set(cpu, State.ENDED)

    # -- the trace --------------------------------------------------------------------------------

    def _record_now(self, kind: Kind, cpu: int, pc: int, pa: int, value: int, size: int = 0) -> None:
        if self.recording:
            self.trace.add(kind, cpu, size, pc, pa, value)

    def _event(self, kind: Kind, cpu: int, pc: int, value: int, pa: int = 0, size: int = 0) -> None:
        self.trace.add(kind, cpu, size, pc, pa, value)

    def read_counter(self) -> int:
        """Return CNTVCT_EL0: simulated time at 62.5 MHz; each look is a tick later: delay loops end."""
        self._counter_reads += 1
        return self.now * 625 // 10_000 + self._counter_reads


def _outcome(actor: Actor) -> Outcome:
    # How a CPU ends that does nothing more.
    if actor.outcome is not None:
        return actor.outcome
    if actor.state is State.OFF:
        return OFF
    if actor.state is State.WAITING:
        return Outcome(End.ASLEEP_WFE)
    if actor.state is State.IDLE:
        return Outcome(End.ASLEEP_WFI)
    if actor.state is State.SPINNING or actor.task is not None:
        return Outcome(End.IN_HOST_TASK, function_name(actor.task))
    return Outcome(End.RUNNING)


@contextmanager
def _interrupts_kept() -> Iterator[list[int]]:
    # An interrupt inside a hook would be lost, or leave an instruction half done: the first one is noted,
    # the second raises at once. Only the main thread gets interrupts.
    kept: list[int] = []

    def keep(number: int, _frame: object) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield kept
        return
    signal.signal(signal.SIGINT, keep)
    try:
        yield kept
    finally:
        signal.signal(signal.SIGINT, before)
    if kept:
        raise KeyboardInterrupt
