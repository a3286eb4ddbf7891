"""The machine: actors, memory, one clock each, and the loop that lets a scheduler pick who goes next.

An actor is a CPU. It runs guest code on its PE, or a host task (a generator that yields operations) that
plays firmware or kernel C code on that CPU; both are scheduled alike. Only the machine writes its trace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from emu.arch import sysreg
from emu.arch.dataflow import DataFlow
from emu.cpu.engine import UNLIMITED, Engine
from emu.cpu.interconnect import Interconnect
from emu.latency.profile import NOMINAL, CpuCosts, Latency
from emu.machine.actor import Actor, Grain, HostTask, State, outcome_of
from emu.machine.clock import Clock
from emu.machine.device_bus import DeviceBus
from emu.machine.exits import Exits
from emu.machine.guest_code import GuestCode
from emu.machine.host_memory import HostMemory
from emu.machine.host_tasks import HostTasks
from emu.machine.interconnect import MachineInterconnect
from emu.machine.landings import Landings
from emu.machine.naps import Naps
from emu.machine.parts import Parts
from emu.machine.power import Power
from emu.machine.recorder import Recorder
from emu.machine.replay import follow
from emu.machine.run_queue import RunQueue
from emu.machine.signals import interrupts_kept
from emu.machine.spins import Spins
from emu.machine.waits import Waits
from emu.machine.waking import Waking
from emu.memory import Memory
from emu.models.protocol import MachineMemory, MemoryModel, Note
from emu.operation import Kind, Reported
from emu.outcome import Outcome
from emu.schedulers import Scheduler, Steering, attach
from emu.trace import Trace

if TYPE_CHECKING:
    from emu.machine.free_turns import FreeTurns


class Watch(Protocol):
    """Looks at a machine that runs."""

    def step(self, cpu: int) -> None:
        """``cpu`` has run for a grain, or was let run and did something else."""

    def end(self, trace: Trace) -> None:
        """Put into ``trace`` what is to be said if the run ends here."""


NOBODY = -1
COUNTER_READS_LEAST = 100_000  # that are not counted


class Machine:
    """CPUs on one memory. ``entry_el`` is 1 or 2: the highest level that is not firmware's.

    :ivar current: the CPU that ran last; -1 before the first, and while no CPU does anything
    :ivar pc_before: VA of the step that was done last; 0: a host task did it; NOBODY: no CPU did, the
        recorded schedule has let something happen
    :ivar watch: what looks at it after each step
    :ivar unfinished: the CPU that is amid what a recorded pick lets it do, at instruction grain; -1: none is
    :ivar stopped: why run() ended early
    :ivar next_boot: makes another boot before the next pick
    :ivar takes_turns: the scheduler always picks the runnable CPU behind the one that ran last
    """

    def __init__(
        self,
        memory: Memory,
        scheduler: Scheduler,
        trace: Trace,
        make_engine: Callable[[Memory, Interconnect], Engine],
        *,
        grain: Grain = Grain.FREE,
        record: bool = False,
        latency: Latency = NOMINAL,
        instructions_max: int = UNLIMITED,
    ) -> None:
        self.memory = memory
        self.clock = Clock()
        self.interconnect = MachineInterconnect(self)
        self.engine = make_engine(memory, self.interconnect)
        self.scheduler = scheduler
        attach(scheduler, lambda cpus: [self.actors[cpu].time for cpu in cpus])
        self.takes_turns = getattr(scheduler, "in_turn", False)
        self._steering = scheduler if isinstance(scheduler, Steering) else None
        self.recorder: Recorder = Recorder(trace, recording=record)
        trace.flow = DataFlow(lambda va: memory.read(va, 4) if memory.contains(va, 4) else None)
        self.grain = grain
        self.model: MachineMemory | None = None
        self.has_lines = False  # of the model that is played here or that an exploration of this run has
        self.watch: Watch | None = None
        self.latency = latency
        self.waits = Waits()
        self.costs: defaultdict[int, CpuCosts] = defaultdict(CpuCosts)  # by logical CPU
        self.instructions_max = instructions_max
        self.entry_el = 1
        self.picks = 0
        self.stopped = ""
        self.landings = Landings(self.engine)
        self.current = -1
        self.pc_before = 0
        self.queue: RunQueue = RunQueue(self.interconnect, self.clock)
        self.actors: list[Actor] = self.queue.actors
        self.host_memory: HostMemory = HostMemory(self)
        self.tasks = HostTasks(self)
        self.parts = Parts(self)
        self.guest_code = GuestCode(self)
        self.exits = Exits(self)
        self.waking = Waking(self)
        self.devices = DeviceBus(self)
        self.free: FreeTurns | None = None  # CPUs run freely, each in its own time
        self.when_asleep: Callable[[], bool] | None = None  # is called then; True: that has changed something
        self.spins = Spins(self)
        self.naps = Naps(self)
        self.power = Power(self)
        self.next_boot: Callable[[], None] | None = None
        self.delays_maintenance = False  # that of the operation under way: a recorded schedule says so
        self.unfinished = -1

    @property
    def trace(self) -> Trace:
        """What the recorder writes."""
        return self.recorder.trace

    @property
    def now(self) -> int:
        """The latest time any actor has got to, ns."""
        return self.clock.now

    @property
    def now_of_current(self) -> int:
        """The time of the CPU that runs, ns; of the machine when none does."""
        return self.actors[self.current].time if self.current >= 0 else self.clock.now

    # -- building ---------------------------------------------------------------------------------

    def use_model(self, model: MemoryModel, granule: int) -> None:
        """Let ``model`` say what accesses find, in units of ``granule`` bytes.

        With a model that is more than memory alone, every operation is recorded.
        """
        self.model = model.on_machine(self.memory, granule, self._note)
        if self.model is not None:
            self.recorder.recording = True

    def _note(self, kind: Kind, pa: int, value: int, size: int) -> None:
        if not self.spins.looks_ahead:
            self.recorder.event(kind, max(self.current, 0), 0, value, pa, size)

    def add_cpu(self, mpidr: int, midr: int, overrides: dict[sysreg.Encoding, int]) -> Actor:
        """Add the next CPU, switched off; ``mpidr`` and ``midr`` are raw u64."""
        pe = self.engine.new_pe(len(self.actors), mpidr, midr, self.entry_el)
        for encoding, value in overrides.items():
            pe.override(encoding, value)
        self.recorder.keeps_caches |= sysreg.CLIDR_EL1 in overrides or sysreg.CTR_EL0 in overrides
        actor = Actor(pe)
        self.actors.append(actor)
        return actor

    def is_runnable(self, cpu: int) -> bool:
        """Tell whether ``cpu`` can do its next step now."""
        return self.actors[cpu].state is State.RUNNABLE

    def start_task(self, cpu: int, task: HostTask) -> None:
        """Let ``task`` run on ``cpu`` now."""
        actor = self.actors[cpu]
        actor.task = task
        actor.outcome = None
        self.tasks.advance(cpu, actor, None)

    def power_on(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        """Switch ``cpu`` on at ``entry_pa`` (PA) with X0 given, MMU off, at ``el`` or the entry EL."""
        self.power.switch_on(cpu, entry_pa, x0, el)

    def record_times(self) -> None:
        """Let the trace have the simulated time (ns) of each record."""
        self.trace.record_times(self.time_of)

    def time_of(self, cpu: int) -> int:
        """Return the time of ``cpu`` (ns), with what it has done of the grain that is under way."""
        actor = self.actors[cpu]
        if cpu != self.current or actor.task is not None:
            return actor.time
        in_flight = self.engine.begun * self.latency.instruction
        return actor.time + self.latency.of(actor.pe.counters) - actor.spent + in_flight

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Let the actors run until none can, or a limit ends the run (``stopped`` says which).

        :raises KeyboardInterrupt: between two picks, so that the machine can still be looked at
        """
        if self.free is None:
            self.observe()
        with interrupts_kept() as kept, self.naps.looking():
            while self.naps.take() or self.step():
                if kept:
                    raise KeyboardInterrupt

    def observe(self) -> None:
        """From now on count accesses, and keep operations in the trace when the recorder records."""
        self.engine.observe(record=self.recorder.recording, accesses=self.model is not None)

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Run PEs by hand in the middle of a run, as before it: nothing is counted or recorded."""
        self.engine.unobserve()
        try:
            yield
        finally:
            self.observe()

    def step(self, choose: int = -1) -> bool:
        """Let the scheduler pick one actor and run it for one grain; False when the run is over.

        :param choose: the CPU that runs instead of the scheduler's; it must be runnable
        """
        if self.next_boot is not None:
            begin, self.next_boot = self.next_boot, None
            begin()
        steered = self._steering is not None and choose < 0
        amid = steered and self.unfinished >= 0
        if amid:
            choose = self.unfinished
        pick = self._steering.next_pick() if self._steering is not None and choose < 0 else None
        if pick is not None:
            choose = follow(self, pick)
            if choose < 0:
                self.pc_before = NOBODY
                return True
        elif not amid:  # amid a recorded pick nothing else happens
            if self.spins.aside:
                self.spins.let_on(any_runnable=bool(self.queue.runnable))
            if (self.clock.timers or self.when_asleep) and not self.stopped:
                self._expire_timers()
        runnable = self.queue.runnable
        if not runnable or self.stopped:
            return False
        if choose < 0 and self.free is not None:
            choose = self.free.amid  # the turn goes on
        if choose >= 0:
            cpu = choose
            self.spins.release(cpu)
        else:
            cpu = runnable[0] if len(runnable) == 1 else self.scheduler.pick(runnable, self.current)
        self.current = cpu
        self.picks += 1
        actor = self.actors[cpu]
        runs_guest, is_stopped = actor.task is None, False
        if not runs_guest:
            self.pc_before = 0
            self.tasks.run(cpu, actor)
        else:
            self.pc_before = actor.pe.pc
            is_stopped = self.guest_code.run(cpu, actor)
            counted = actor.pe.counters.instructions
            if (counted >= actor.look_at or actor.repeats >= actor.repeats_max) and self.free is None:
                goes_on = actor.state is State.RUNNABLE and actor.task is None and not actor.made
                if pick is None and goes_on:
                    self.spins.look(cpu, actor)
        if steered and self.grain is Grain.INSTRUCTION:
            # A pick is an operation, with all that comes before the next; of a host task it is alone.
            # What stops the PE, an exception say, ends it too.
            goes_on = runs_guest and actor.task is None and actor.state is State.RUNNABLE and not is_stopped
            self.unfinished = cpu if goes_on and not self.engine.at_operation(actor.pe) else -1
        self.delays_maintenance = False
        self.parts.alone = -1
        if actor.time > self.clock.now:
            self.clock.now = actor.time
        system = self.interconnect.system
        if system.asleep & system.events:
            self.waking.wake_sleepers()
        if self.model is not None:
            self.model.settle()
        if self.watch is not None:
            self.watch.step(cpu)
        return True

    @property
    def picks_in_turn(self) -> bool:
        """Whether the next pick is the runnable CPU behind :attr:`current`, and nothing comes before it."""
        return self.takes_turns and self.next_boot is None and not self.stopped and not self.spins.aside

    def _expire_timers(self) -> None:
        if self.free is not None and self.free.amid >= 0:
            return  # they are looked at between turns
        if self.when_asleep is not None and not self.queue.runnable and self.when_asleep():
            return
        clock = self.clock
        clock.quiet_picks += 1
        while (timer := clock.expired(bool(self.queue.runnable))) is not None:
            if timer.action:
                timer.action()
                continue
            actor = self.actors[timer.cpu]
            if self.free is not None and actor.state is State.IDLE and actor.deadline == timer.deadline:
                self.free.alarm(timer.cpu, timer.deadline)
            elif actor.state is State.DELAYED and actor.deadline == timer.deadline:
                self.queue.set(timer.cpu, State.RUNNABLE)

    @property
    def instructions_left(self) -> int:
        """Instructions and operations of host tasks until the limit."""
        return self.instructions_max - self.clock.begun

    @property
    def counter_reads_max(self) -> int:
        """Reads of CNTVCT_EL0 until the limit: each takes as long as a thousand instructions."""
        return max(COUNTER_READS_LEAST, self.instructions_max // 1000)

    def count(self, begun: int, why: str = "") -> None:
        """Count instructions or operations of host tasks; at the limit, or for ``why``, the run ends."""
        self.clock.begun += begun
        if self.instructions_left <= 0 or why:
            self.stopped = f"limit of {self.instructions_max} instructions (--instructions-max){why}"

    def go_on(self, instructions: int) -> None:
        """Let a run that is over be followed by another, of so many instructions at most."""
        self.stopped = ""
        self.instructions_max = self.clock.begun + instructions

    def reboot(self, begin: Callable[[], None]) -> None:
        """Let ``begin`` make the next boot before the next pick."""
        self.next_boot = begin

    def log(self, line: str, reported: Reported | None = None) -> None:
        """Keep one line of dmesg, and what it says of a CPU, from the CPU that runs now."""
        cpu = max(self.current, 0)
        self.recorder.log(cpu, self.actors[cpu].time, line, reported)

    # -- ends -------------------------------------------------------------------------------------

    def end(self, cpu: int, outcome: Outcome, at: int | None = None) -> None:
        """Let ``cpu`` do nothing more; it ends at ``at`` (VA), or at its PC."""
        actor = self.actors[cpu]
        actor.outcome, actor.ended_at = outcome, at or None
        self.trace.add_outcome(cpu, actor.pe.pc if at is None else at, outcome)
        self.queue.set(cpu, State.ENDED)

    def outcome(self, cpu: int) -> Outcome:
        """Return how ``cpu`` has ended, or would if it did nothing more."""
        return outcome_of(self.actors[cpu])

    def ends(self) -> list[tuple[int, Actor, Outcome]]:
        """Return number, actor and outcome of every CPU."""
        return [(cpu, actor, self.outcome(cpu)) for cpu, actor in enumerate(self.actors)]

    def finish(self) -> None:
        """Put into the trace what is lost at the end, why the run was cut off, and how every CPU ended."""
        for _, actor, outcome in self.ends():
            actor.outcome = outcome
        if self.watch is not None:
            self.watch.end(self.trace)
        record_end(self, self.recorder)
        self.trace.flush()

    def trace_if_over(self) -> Trace:
        """Return the trace as it would be if the run ended here."""
        trace = self.trace.copy()
        if self.watch is not None:
            self.watch.end(trace)
        record_end(self, Recorder(trace, recording=False))
        return trace

    def lost_at_end(self) -> tuple[Note, ...]:
        """Return what the memory model loses: nothing while a CPU could still clean a line."""
        goes_on = self.stopped or any(actor.state is State.RUNNABLE for actor in self.actors)
        return () if self.model is None or goes_on else self.model.at_end()


def record_end(machine: Machine, recorder: Recorder) -> None:
    """Keep how the run of ``machine`` ends."""
    ends = machine.ends()
    if (machine.spins.are_livelocks or machine.free is not None) and not machine.stopped:
        recorder.livelocks(ends)
    recorder.end(machine.stopped, ends, machine.lost_at_end())
