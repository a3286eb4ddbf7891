"""Turns of CPUs that run freely: each in its own time, with its timers, its interrupts and its sleep.

A turn is so many instructions at most, up to the next change of one of the CPU's timers. The CPU whose time
is earliest goes first (scheduler ``timed``), so the times of CPUs that do something differ by a turn at most.

MODEL: a CPU that yields again within 200 instructions, near the same place and without a store to a device,
is taken to wait: time passes, an eighth of what it has waited so far. Where it has left the loop and come
back, which makes a round longer than others, it begins anew: it waits for as long as before, more or less. A
scheduler that does not go by time may pick it while a CPU that does not wait is behind it. Then no time
passes: on a parallel machine the other one would have got there by then.

MODEL: a CPU that waits in such a loop, and behind 100 s of its time has registers once more that it had
behind them before, is taken to wait for what another CPU stores, or an interrupt. Where all that run do, and
neither a timer nor an interrupt is to come, the run ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.arch.counter import count_at
from emu.arch.sysreg import CNTHCTL_EL2, CNTKCTL_EL1, CNTVOFF_EL2
from emu.cpu.engine import UNLIMITED
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Call, Raised, Reached, StepLimit, Waiting
from emu.cpu.sysregs import vhe
from emu.devices.protocol import WAKE, CpuTimer
from emu.devices.timer import next_event
from emu.machine.actor import Actor, State
from emu.machine.irq_delays import IrqDelays
from emu.operation import Kind
from emu.outcome import End, Outcome
from emu.records import EngineRecords
from emu.schedulers import Scheduler, attach, goes_by_time, tell_of_wait
from emu.trace import Trace

if TYPE_CHECKING:
    from emu.machine.machine import Machine

TURN = 20_000  # instructions
ALONE = 1_000_000  # the same while nobody looks at what the only CPU says; Ctrl-C comes behind them
EXCEPTIONS_MAX = 10_000  # of a CPU one behind the other, with the same registers
RECORDS_MAX = 10_000_000  # of a trace; 36 bytes each in memory
# A CPU that yields again after no more instructions than these, no further away, is in a loop that waits.
_LOOP_MAX, _LOOP_BYTES = 200, 256
# Time passes in such a loop: at least so many ns for each yield, and this part of what it has waited so far.
# But no more than 10 s at once: a scheduler may pick it for ever, and time would grow beyond 64 bits.
_YIELD_NS, _YIELD_PART, _YIELD_MAX = 100, 8, 10_000_000_000
# What waits longer than this (ns) with the same registers has no time-out: the kernel's are some 10 s.
_FOR_EVER = 100_000_000_000
# Turns that end in a loop that waits, of all CPUs: each takes the host as long as some 2,000 instructions.
WAITS_LEAST, _INSTRUCTIONS_A_WAIT = 100_000, 2000
_PSTATE_I_F = 3 << 6
_WFE = 0xD503_205F


class _Wait:
    # The loop that a CPU waits in: the PC behind its first WFE or YIELD, since when (ns), instructions at the
    # last one; whether its last turn has ended there. Instructions when it was last at that PC, and of its
    # shortest round. How long (ns) the wait before has taken, and since when they follow each other (ns).
    # Registers long after that, and whether they have come again.

    __slots__ = (
        "at",
        "before",
        "first",
        "instructions",
        "is_on",
        "registers",
        "round",
        "round_at",
        "settled",
        "since",
    )

    def __init__(self) -> None:
        self.at = self.before = self.first = self.instructions = self.since = self.round = self.round_at = 0
        self.is_on = self.settled = False
        self.registers = b""

    def begin(self, at: int, since: int, instructions: int) -> None:
        self.at, self.since, self.first, self.before = at, since, since, 0
        self.round, self.round_at = _LOOP_MAX, instructions
        self.registers, self.settled = b"", False

    def go_round(self, at: int, now: int, instructions: int) -> None:
        # A round that is longer than others has left the loop and come back: the next of several delays.
        if at != self.at:
            return
        length, self.round_at = instructions - self.round_at, instructions
        if length > self.round:
            self.before, self.since = now - self.since, now
        self.round = min(self.round, length)

    def look(self, pe: PE, now: int) -> None:
        if now - self.first < _FOR_EVER or self.settled:
            return
        registers = pe.general(0, 33)
        self.settled = registers == self.registers
        self.registers = self.registers or registers


class FreeTurns:
    """Runs the CPUs of ``machine`` freely.

    A turn may be run in pieces, which changes nothing: :meth:`Machine.step` goes on with :attr:`amid`.

    :ivar asleep_ns: by CPU, the time that it has spent in WFI
    :ivar turn: instructions of a turn, at most
    :ivar alone: the same while no other CPU can run, if it is more
    :ivar piece: instructions after which the machine may be looked at, at most; the turn goes on behind them
    :ivar delays: how late interrupts reach CPUs
    :ivar is_at_bound: the run is over: the trace has room for no more, or CPUs wait, or take one exception,
        again and again
    :ivar amid: the CPU that is in the middle of its turn, -1: none
    """

    def __init__(self, machine: Machine, timer: CpuTimer, at_breakpoint: Callable[[int, int], None]) -> None:
        self._machine = machine
        self._timer = timer
        self._at_breakpoint = at_breakpoint
        self._waits = [_Wait() for _ in machine.actors]
        self._asleep_since = [0] * len(machine.actors)
        self.asleep_ns = [0] * len(machine.actors)
        self._count = 0
        self._alarm_at = -1  # ns, while a timer of a CPU that sleeps is looked at
        self._coming: dict[int, dict[int, int]] = {}  # by CPU: IRQ or FIQ that was asserted in its future, ns
        self.turn, self.alone, self.piece = TURN, TURN, UNLIMITED
        self._goes_by_time = goes_by_time(machine.scheduler)
        self.delays = IrqDelays()
        self.is_at_bound = False
        self._waited = 0  # turns that have ended in a loop that waits
        self._raised: dict[int, tuple[bytes, int]] = {}  # by CPU: registers at its last exception, how often
        self.amid = -1
        self._left = 0  # instructions of the turn of `amid`, at most

    def use(self, scheduler: Scheduler, turn: int, delays: IrqDelays) -> None:
        """Let ``scheduler`` pick from now on, for turns of so many instructions; 0: TURN."""
        self.delays = delays
        machine = self._machine
        machine.scheduler = scheduler
        attach(scheduler, lambda cpus: [machine.actors[cpu].time for cpu in cpus])
        self._goes_by_time = goes_by_time(scheduler)
        self.turn = turn or TURN
        self.amid = -1

    def count(self, time: int) -> int:
        """Return the system counter (ticks of 62.5 MHz) for a CPU at ``time`` (ns); it never goes back."""
        self._count = self.count_now(time)
        return self._count

    def count_now(self, time: int) -> int:
        """Return the same for who only looks: later reads may still be of earlier times."""
        return max(self._count, count_at(time))

    def run(self, cpu: int, actor: Actor) -> None:
        """Let ``cpu`` have a turn, or the next piece of it."""
        machine, pe = self._machine, actor.pe
        if cpu != self.amid:
            self._left = self._length(cpu, actor.time)
            self._waits[cpu].is_on = False
        before = pe.counters.instructions
        made = machine.trace.made
        if made is not None:
            made.since = actor.time - made.ns * before
        stop = machine.engine.run(pe, max(1, min(self._left, self.piece, machine.instructions_left)))
        if made is not None:
            self._take(machine.trace)
        done = pe.counters.instructions - before
        self._left -= done
        goes_on = stop is STEP_LIMIT and self._left > 0 and not machine.engine.free.ended
        self.amid = cpu if goes_on else -1
        machine.clock.begun += done
        machine.guest_code.spend_time(actor)
        if machine.watch is not None and isinstance(stop, Call | Raised):
            machine.watch.step(cpu)  # what the CPU has said comes before what it does now
        match stop:
            case StepLimit():
                pass
            case Waiting(Kind.WFI):
                self._sleep(cpu, actor)
            case Waiting() if machine.engine.free.at_self_branch(pe):
                self._stay(cpu, actor)
            case Waiting():
                self._yield(cpu, actor)
            case Reached(va) if va not in machine.landings:
                self._at_breakpoint(cpu, va)
            case Raised():
                machine.exits.handle(cpu, actor, stop)
                self._count_exception(cpu, actor.pe, stop)
            case _:
                machine.exits.handle(cpu, actor, stop)
                machine.guest_code.spend_time(actor)  # of a call: the next turn ends before a deadline
        if machine.clock.begun >= machine.instructions_max:
            machine.count(0)

    def _length(self, cpu: int, now: int) -> int:
        # Instructions of a turn that begins, at most.
        machine, turn = self._machine, self.turn
        deadline = self._deadline(cpu, now)
        ends = [] if deadline is None else [deadline]
        if turn < self.alone and len(machine.queue.runnable) == 1:
            # There is nobody to take turns with, up to where a timer wakes somebody.
            turn = self.alone
            ends += [timer.deadline for timer in machine.clock.timers[:1]]
        return min(turn, *(max(end - now, 1) for end in ends)) if ends else turn

    def record(self) -> None:
        """From now on keep every access, barrier and interrupt between CPUs in the trace."""
        machine, self.alone = self._machine, TURN
        machine.recorder.recording = True
        machine.trace.made = EngineRecords(machine.latency.instruction)
        machine.engine.free.record(machine.trace.made)

    def _count_exception(self, cpu: int, pe: PE, raised: Raised) -> None:
        # A CPU that takes one exception with the same registers again and again gets nowhere, or counts in
        # memory: each costs so much time that the run would not come to its bound of instructions.
        registers = pe.general(0, 33)
        before, times = self._raised.get(cpu, (b"", 0))
        times = times + 1 if registers == before else 0
        self._raised[cpu] = registers, times
        if times >= EXCEPTIONS_MAX:
            self.is_at_bound = True
            self._machine.stopped = (
                f"limit of {EXCEPTIONS_MAX:,} exceptions of CPU{cpu} with the same registers: "
                f"ESR {raised.syndrome:#x} at {raised.preferred_return:#x}"
            )

    def _take(self, trace: Trace) -> None:
        # What the engine has recorded in a run.
        trace.take_made()
        if len(trace) >= RECORDS_MAX:
            self.is_at_bound = True
            self._machine.stopped = f"limit of {RECORDS_MAX:,} records of a trace (--record-from, --until)"

    def _deadline(self, cpu: int, now: int) -> int | None:
        # When something happens to `cpu` next: a timer changes, or an interrupt comes.
        deadline = self._timer.tick(cpu, now)
        if not self._coming.get(cpu):
            return deadline
        self._take_what_has_come(cpu, now)
        return min((*self._coming[cpu].values(), *(() if deadline is None else (deadline,))), default=None)

    def _take_what_has_come(self, cpu: int, now: int) -> None:
        coming = self._coming[cpu]
        for line in [line for line, at in coming.items() if at <= now]:
            del coming[line]
            self._machine.engine.free.set_line(self._machine.actors[cpu].pe, line, True)

    def progress(self, cpu: int) -> None:
        """Take notice that ``cpu`` has stored to a device: it does not wait."""
        self._waits[cpu].at = 0

    # -- waiting ----------------------------------------------------------------------------------

    def _yield(self, cpu: int, actor: Actor) -> None:
        # WFE or YIELD: in a loop that waits, time passes.
        wait, pc, done = self._waits[cpu], actor.pe.pc, actor.pe.counters.instructions
        if abs(pc - wait.at) <= _LOOP_BYTES and done - wait.instructions <= _LOOP_MAX:
            wait.is_on = True
            wait.go_round(pc, actor.time, done)
            tell_of_wait(self._machine.scheduler)
            if self._goes_by_time or not self._one_is_behind(actor):
                waited = max(actor.time - wait.since, wait.before)
                part = min(waited // _YIELD_PART, _YIELD_MAX)
                self._pass(cpu, actor, min((max(_YIELD_NS, part), *self._event_stream(cpu, actor))))
            self._look_for_progress(wait, actor)
        else:
            wait.begin(pc, actor.time, done)
        wait.instructions = done

    def _look_for_progress(self, wait: _Wait, actor: Actor) -> None:
        # A CPU waits once more. Where it is clear that all do for ever, the run is over.
        machine = self._machine
        self._waited += 1
        if self._waited >= self._waits_max:
            self.is_at_bound = True
            machine.stopped = (
                f"limit of {self._waits_max:,} turns in loops that wait with WFE or YIELD "
                "(--instructions-max)"
            )
        wait.look(actor.pe, actor.time)
        if (
            wait.settled
            and not machine.clock.timers
            and not any(map(self._may_go_on, range(len(self._waits))))
        ):
            for waiting in tuple(machine.queue.runnable):
                machine.end(waiting, Outcome(End.SPINS))

    @property
    def _waits_max(self) -> int:
        return max(WAITS_LEAST, self._machine.instructions_max // _INSTRUCTIONS_A_WAIT)

    def _may_go_on(self, cpu: int) -> bool:
        # Whether something is to come for a CPU, or it runs and is not known to wait for ever.
        actor, wait = self._machine.actors[cpu], self._waits[cpu]
        if actor.state not in (State.RUNNABLE, State.IDLE):
            return False
        if self._coming.get(cpu) or self._timer.tick(cpu, actor.time) is not None:
            return True
        if actor.state is State.IDLE:
            return self._machine.when_asleep is not None
        takes_it = bool(actor.pe.lines) and actor.pe.daif & _PSTATE_I_F != _PSTATE_I_F
        return takes_it or not (wait.is_on and wait.settled)

    def _one_is_behind(self, actor: Actor) -> bool:
        # Whether a CPU that does not wait has not come to the time of this one yet.
        machine, now = self._machine, actor.time
        return any(
            machine.actors[cpu].time < now and not self._waits[cpu].is_on for cpu in machine.queue.runnable
        )

    def _event_stream(self, cpu: int, actor: Actor) -> Iterator[int]:
        # In how many ns events come that the CPU sends itself: a WFE waits no longer.
        pe, now = actor.pe, actor.time
        pa = pe.translate(pe.pc - 4)
        if pa is None or self._machine.memory.read(pa, 4) != _WFE:
            return
        streams = [(CNTHCTL_EL2, 0)]
        if not vhe.is_host(pe):  # else CNTKCTL_EL1 has no stream
            streams.append((CNTKCTL_EL1, pe.sysreg(CNTVOFF_EL2)))
        for control, ahead in streams:
            event = next_event(pe.system_register(control), ahead, now)
            if event is not None:
                yield event - now

    def _pass(self, cpu: int, actor: Actor, time: int) -> None:
        # Let ns pass, up to the next change of a timer.
        deadline = self._deadline(cpu, actor.time)
        actor.time += time if deadline is None else min(time, max(deadline - actor.time, 0))

    def _stay(self, cpu: int, actor: Actor) -> None:
        # At a branch to itself: only an interrupt leads away.
        if actor.pe.daif & _PSTATE_I_F == _PSTATE_I_F:
            self._machine.end(cpu, Outcome(End.SELF_BRANCH))
        else:
            self._sleep(cpu, actor)

    def suspend(self, cpu: int) -> None:
        """Let ``cpu``, whose turn it is, sleep in firmware as in WFI, but that a WakeRequest ends it too."""
        machine = self._machine
        machine.guest_code.spend_time(machine.actors[cpu])
        if machine.devices.controller is None or not machine.devices.controller.wakes(cpu):
            self._sleep(cpu, machine.actors[cpu])

    def _sleep(self, cpu: int, actor: Actor) -> None:
        # WFI: until an interrupt, whether it is masked or not.
        machine = self._machine
        self.progress(cpu)
        if coming := self._coming.get(cpu):
            wakes = max(min(coming.values()), actor.time)
            self.asleep_ns[cpu] += wakes - actor.time
            actor.time = wakes
            self._take_what_has_come(cpu, wakes)
        if actor.pe.lines:
            return
        self._asleep_since[cpu] = actor.time
        machine.queue.set(cpu, State.IDLE)
        self._set_alarm(cpu, actor, actor.time)

    def _set_alarm(self, cpu: int, actor: Actor, now: int) -> None:
        deadline = self._timer.tick(cpu, now)
        if deadline is not None and actor.state is State.IDLE:
            actor.deadline = deadline
            self._machine.clock.set_timer(deadline, cpu)

    def alarm(self, cpu: int, deadline: int) -> None:
        """Let the time of ``cpu``, which sleeps, come to ``deadline`` (ns): a timer changes."""
        self._alarm_at = deadline
        self._set_alarm(cpu, self._machine.actors[cpu], deadline)
        self._alarm_at = -1

    # -- interrupts -------------------------------------------------------------------------------

    def interrupt(self, cpu: int, line: int, high: bool) -> None:
        """IRQ or FIQ of ``cpu``, or WAKE, is asserted or deasserted, by the CPU that runs or by a timer."""
        machine = self._machine
        actor = machine.actors[cpu]
        if line == WAKE and not (high and actor.state is State.IDLE):
            return  # for CPUs that sleep
        now = self._alarm_at if self._alarm_at >= 0 else machine.time_of(max(machine.current, 0))
        self._coming.get(cpu, {}).pop(line, None)
        if high and cpu != machine.current >= 0 > self._alarm_at:
            sender = machine.actors[machine.current].pe
            machine.recorder.operation(Kind.SEND_INTERRUPT, machine.current, sender.pc, 0, cpu)
        if line == WAKE:
            self._wake(cpu, actor, now)
            return
        late = self.delays.draw() if high and self.delays.most and self._several_are_on() else 0
        arrives = max(now, actor.time) + late if late else now
        if high and actor.state is State.RUNNABLE and (late or (cpu != machine.current and now > actor.time)):
            self._coming.setdefault(cpu, {})[line] = arrives  # it is behind, and must not see the future
            if cpu == machine.current:
                machine.engine.free.stop_behind()  # its turn ends by then
            return
        machine.engine.free.set_line(actor.pe, line, high)
        if not high:
            return
        self._wake(cpu, actor, arrives)

    def _wake(self, cpu: int, actor: Actor, at: int) -> None:
        # Something has come at `at` (ns) that ends a sleep.
        machine = self._machine
        if actor.state is State.IDLE:
            actor.time = max(actor.time, at)
            self.asleep_ns[cpu] += actor.time - self._asleep_since[cpu]
            machine.queue.set(cpu, State.RUNNABLE)
        machine.engine.free.stop_behind()

    def _several_are_on(self) -> bool:
        return any(actor.pe.counters.instructions for actor in self._machine.actors[1:])


def run_freely(machine: Machine, timer: CpuTimer, at_breakpoint: Callable[[int, int], None]) -> FreeTurns:
    """From now on let CPUs run at full speed, each in its own time, with interrupts; nothing is observed.

    :param at_breakpoint: is called with the CPU and the VA; the CPU goes on behind it
    """
    machine.free = FreeTurns(machine, timer, at_breakpoint)
    machine.clock.waits_for_time = True
    machine.engine.free.begin()
    return machine.free
