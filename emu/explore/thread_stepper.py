"""The thread stepper: one machine that runs single steps of single actors, from any local state.

A step runs once for each local state and observation. Memory is lent to it: the machine gets the bytes of the
global state for the step, and its own bytes back after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b

from emu.cpu.engine import INVISIBLE_MAX, LINE_SHIFT
from emu.errors import Untestable
from emu.explore.describe import describe
from emu.explore.local_state import Action, Edge, LocalState, OfPart, TaskHistory
from emu.explore.tasks import Tasks
from emu.explore.watch import Watch
from emu.machine import Machine
from emu.machine.actor import ActorState, Grain, HostTask, State, end_pc
from emu.machine.firmware import Answer, Effect, Platform, PowerOn
from emu.machine.single_steps import actor_state, set_actor_state
from emu.models.protocol import MemoryModel
from emu.operation import (
    FirmwareCall,
    Invisible,
    Kind,
    Operation,
    Poll,
    StoreExclusive,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.outcome import End
from emu.semantics import monitors
from emu.semantics.log import DeferredLog
from emu.semantics.state import SystemState

WAKE = "wake"  # the observation of an actor that is woken
_DEFERS = (Kind.DEFERRED, Kind.FLUSHED)
_SILENT_MAX = 32  # steps of INVISIBLE_MAX instructions, one after another, without an operation
_NOWHERE = ActorState(State.OFF, None, None, None, None, 0)


class _Script:
    # Firmware that answers what it is told to, and remembers nothing.

    def __init__(self, conduit: str) -> None:
        self.conduit = conduit
        self.answer = Answer(0)

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        return self.answer

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        raise AssertionError("a start that is put off is the transition system's")

    def state(self) -> Hashable:
        return None

    def set_state(self, state: Hashable) -> None:
        pass


class ThreadStepper:
    """Runs steps on ``machine``, whose actors stand where the exploration begins.

    :ivar watch: the properties of the exploration
    :param tasks: create another host task like the one that a CPU begins with, by CPU
    :param model: the memory model of the exploration; the machine itself has coherent memory
    """

    def __init__(
        self, machine: Machine, tasks: Mapping[int, Callable[[], HostTask]], model: MemoryModel
    ) -> None:
        self.machine = machine
        machine.spins.looks_for_them = False
        machine.watch = None  # states are looked at
        self.watch: Watch | None = None
        self.model = model
        self.steps = 0  # run on the machine
        self.grew = False  # something new was seen since this was cleared
        self.locals: list[LocalState] = []
        self._first_tasks = tasks
        self._tasks = Tasks(self._new_task)
        self._silent: dict[
            int, int
        ] = {}  # by local state: steps to it without an operation, one after another
        self._known: dict[tuple[object, ...], LocalState] = {}
        self._roots: dict[tuple[object, ...], TaskHistory] = {}
        self._on: dict[tuple[int, int, int, int, int], LocalState] = {}
        machine.grain = Grain.OPERATION
        machine.recorder.recording = True
        machine.observe()
        self.prefix = machine.trace.take()
        self._script = _Script(machine.power.conduit)
        if machine.power.firmware is not None:
            machine.power.firmware = self._script
        self.start = tuple(self._begin(cpu) for cpu in range(len(machine.actors)))

    def _begin(self, cpu: int) -> LocalState:
        actor = self.machine.actors[cpu]
        history = None
        if actor.task is not None:
            history = self._root(("task", cpu))
            self._tasks.keep(history, actor.task, actor.pending)
        local = self._local(cpu, history, None)
        set_actor_state(self.machine, cpu, _NOWHERE)
        return local

    def _root(self, key: tuple[object, ...]) -> TaskHistory:
        return self._roots.setdefault(key, TaskHistory(key))

    def _new_task(self, root: tuple[object, ...]) -> HostTask:
        if root[0] == "task":
            return self._first_tasks[root[1]]()  # type: ignore[index]
        _, cpu, va, context = root
        assert isinstance(cpu, int)
        assert isinstance(va, int)
        assert isinstance(context, bytes)
        self.machine.actors[cpu].pe.set_state(context)
        return self.machine.landings.tasks[va](cpu)

    # -- local states -----------------------------------------------------------------------------

    def _local(self, cpu: int, history: TaskHistory | None, suspended: TaskHistory | None) -> LocalState:
        # The local state that `cpu` has on the machine now.
        machine = self.machine
        actor, standing = machine.actors[cpu], actor_state(machine, cpu)
        context = actor.pe.state()
        armed = monitors.armed(machine.interconnect.system, cpu)
        state = State.RUNNABLE if standing.state in (State.SPINNING, State.DELAYED) else standing.state
        digest = blake2b(context, digest_size=16).digest()
        key = (cpu, state, digest, history, suspended, armed, *standing[4:])
        local = self._known.get(key)
        if local is not None:
            local.is_target = True
            return local
        outcome, at = machine.outcome(cpu), end_pc(actor)
        runs = state is State.RUNNABLE
        action = self._action(cpu) if runs else Action(Invisible())
        local = self._known[key] = LocalState(
            len(self.locals),
            cpu,
            state,
            zlib.compress(context, 1),
            history,
            suspended,
            armed,
            standing.landings,
            standing.outcome,
            outcome,
            at,
            action,
            standing.made,
        )
        self.locals.append(local)
        return local

    def switched_on(self, cpu: int, entry_pa: int, x0: int, el: int, landings: int) -> LocalState:
        """Return the local state of a CPU that firmware has just switched on at ``entry_pa``."""
        key = (cpu, entry_pa, x0, el, landings)
        local = self._on.get(key)
        if local is None:
            self.grew = True
            pe = self.machine.actors[cpu].pe
            self.machine.engine.reset(pe, el, entry_pa, x0)
            set_actor_state(self.machine, cpu, ActorState(State.RUNNABLE, None, None, None, None, landings))
            local = self._on[key] = self._local(cpu, None, None)
            set_actor_state(self.machine, cpu, _NOWHERE)
            self.machine.trace.take()
        return local

    def _action(self, cpu: int) -> Action:
        return describe(self.machine, cpu, attributes=self.model.uses_attributes)

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""
        return len(self.start)

    def starts(self, cpu: int) -> Iterator[LocalState]:
        """Yield the local states in which firmware has switched ``cpu`` on."""
        return (local for key, local in self._on.items() if key[0] == cpu)

    # -- steps ------------------------------------------------------------------------------------

    def edge(
        self, local: LocalState, observation: object, lend: Callable[[LocalState], dict[int, int]]
    ) -> Edge:
        """Return what the observation leads to from ``local``, from the machine the first time.

        :param lend: returns the memory of the global state where it differs from the start: u64 by PA, each
            aligned
        """
        found = local.edges.get(observation)
        if found is None:
            self.grew = True
            with self._lent(local, lend(local)):
                found = local.edges[observation] = self._run(local, observation)
        return found

    def counts_on(
        self, local: LocalState, instructions: int, lend: Callable[[LocalState], dict[int, int]]
    ) -> bool:
        """Tell whether it is proved that a PE counts for so many instructions from ``local`` on.

        :param lend: as of :meth:`edge`
        """
        with self._lent(local, lend(local)):
            self._put(local, None)
            counts = self.machine.spins.counts_on(local.cpu, instructions)
            self._leave(local.cpu)
        return counts

    @contextmanager
    def _lent(self, local: LocalState, lent: dict[int, int]) -> Iterator[None]:
        memory, engine = self.machine.memory, self.machine.engine
        for access in local.action.accesses:  # the step may store there
            for pa in range(access.pa & -8, access.pa + access.size, 8):
                if pa not in lent:
                    lent[pa] = memory.read(pa, 8)
        own = memory.exchange(lent)
        lines = engine.code.lines
        is_code = not lines.isdisjoint({pa >> LINE_SHIFT for pa, value in lent.items() if value != own[pa]})
        if is_code:
            engine.forget_code()
        try:
            yield
        finally:
            is_code = is_code or not lines.isdisjoint({pa >> LINE_SHIFT for pa in lent})
            memory.exchange(own)
            if is_code:
                engine.forget_code()

    def _run(self, local: LocalState, observation: object) -> Edge:
        machine, cpu = self.machine, local.cpu
        self.steps += 1
        before = self._put(local, observation)
        retired = machine.actors[cpu].pe.counters.instructions
        advances = machine.actors[cpu].advances
        machine.trace.take()
        machine.recorder.deferred = DeferredLog()
        machine.spins.forget_exceptions()
        machine.interconnect.forget_told()
        part = observation.number if isinstance(observation, OfPart) else -1
        if local.action.lacks_monitor:
            action = local.action if part < 0 else dict(local.action.apart)[part]
            pa = action.accesses[0].pa
            machine.interconnect.tell_uncached(cpu, machine.actors[cpu].pe.pc, pa)
        if observation == WAKE:
            self._wake(cpu)
        else:
            machine.parts.alone = part
            self._step(local)
        after = actor_state(machine, cpu)
        if after.outcome is not None and after.outcome.end is End.UNMODELLED:
            raise Untestable(machine.stopped)
        given = True if observation == WAKE else observation
        if isinstance(local.action.operation, FirmwareCall):
            assert isinstance(observation, tuple)
            given = observation[0]
        advanced = machine.actors[cpu].advances != advances
        history, suspended = self._histories(local, before, after, given, advanced)
        if machine.actors[cpu].restarted and history is not None:
            history = self._root(history.root)
        if history is not None:
            assert after.task is not None
            self._tasks.keep(history, after.task, after.pending)
        target, records = self._local(cpu, history, suspended), machine.trace.take()
        self._count_silent(local, target, machine.actors[cpu].pe.counters.instructions - retired)
        defers = any(row[0] in _DEFERS for row in machine.trace.rows_of(records))
        edge = Edge(target, target, records, defers, machine.clock.counter_reads > 0)
        self._leave(cpu)
        return edge

    def _step(self, local: LocalState) -> None:
        # Run a step; a wait for the counter is no step of its own, for time starts again with each.
        machine, counters = self.machine, self.machine.actors[local.cpu].pe.counters
        while True:
            reads, retired = machine.clock.counter_reads, counters.instructions
            machine.step(local.cpu)
            silent = counters.instructions - retired >= INVISIBLE_MAX
            if not silent or machine.clock.counter_reads == reads:
                return
            machine.stopped = ""  # an exploration has limits of its own
            if not machine.spins.pass_time(local.cpu):
                raise Untestable(
                    f"CPU{local.cpu} waits for the counter, which an exploration does not follow"
                )
            if machine.stopped:
                raise Untestable(machine.stopped)

    def _count_silent(self, local: LocalState, target: LocalState, instructions: int) -> None:
        # What goes on without an operation comes to a state that nobody has seen, again and again.
        if self.machine.clock.counter_reads >= self.machine.counter_reads_max:
            raise Untestable(f"CPU{local.cpu}: {self.machine.stopped}, at PC {target.at:#x}")
        if instructions < INVISIBLE_MAX or target.number in self._silent:
            return
        steps = self._silent[target.number] = self._silent.get(local.number, 0) + 1
        count = _SILENT_MAX * INVISIBLE_MAX
        if steps > _SILENT_MAX or steps == 1 and self.machine.spins.counts_on(local.cpu, count):
            raise Untestable(
                f"CPU{local.cpu} runs more than {count} instructions without an operation, "
                f"which is as far as an exploration follows it, at PC {target.at:#x}"
            )

    def _wake(self, cpu: int) -> None:
        waking = self.machine.waking
        if self.machine.actors[cpu].state is State.WAITING:
            waking.wake_asleep(cpu)
        else:
            waking.wake_idle(cpu)

    def _leave(self, cpu: int) -> None:
        # What others do must not reach an actor here, nor one that the step has switched on.
        for effect in self._script.answer.effects:
            if isinstance(effect, PowerOn):
                set_actor_state(self.machine, effect.cpu, _NOWHERE)
        self._script.answer = Answer(0)
        set_actor_state(self.machine, cpu, _NOWHERE)

    def _histories(
        self, local: LocalState, before: ActorState, after: ActorState, given: object, advanced: bool
    ) -> tuple[TaskHistory | None, TaskHistory | None]:
        # Where the host tasks of the actor stand after a step.
        pe = self.machine.actors[local.cpu].pe
        if after.task is None:
            if after.suspended is None:
                return None, None
            return None, local.history if before.task is after.suspended else local.suspended
        if after.task is before.task:
            assert local.history is not None
            moved = after.pending is not None and advanced
            return self._next(local.history, given) if moved else local.history, None
        if after.task is before.suspended:
            assert local.suspended is not None
            return self._next(local.suspended, pe.x[0]), None
        context = pe.state()
        return self._root(("land", local.cpu, pe.pc, context)), None

    def _next(self, history: TaskHistory, given: object) -> TaskHistory:
        child = history.children.get(given)
        if child is None:
            child = history.children[given] = TaskHistory(history.root, history, given)
        return child

    def _put(self, local: LocalState, observation: object) -> ActorState:
        # Put the actor into the local state, about to make the observation.
        machine, cpu, operation = self.machine, local.cpu, local.action.operation
        actor = machine.actors[cpu]
        pe, interconnect = actor.pe, machine.interconnect
        task, pending = self._task(local.history)
        if pending is None and local.state is State.RUNNABLE and not isinstance(operation, Invisible):
            pending = operation  # the task was kept when it had fallen asleep in it
        suspended, _ = self._task(local.suspended)
        events = int(isinstance(operation, WaitForEvent) and observation is True) << cpu
        interrupts = int(isinstance(operation, WaitForInterrupt) and observation is True) << cpu
        interconnect.restore(SystemState(events=events, interrupts=interrupts))
        pe.set_state(zlib.decompress(local.context))
        if local.armed is not None:
            interconnect.load_exclusive(pe, local.armed, 1)
        if isinstance(operation, StoreExclusive) and observation is False:
            interconnect.clear_exclusive(pe)
        pe.reached = -1
        standing = ActorState(local.state, task, suspended, pending, local.said, local.landings, local.made)
        set_actor_state(machine, cpu, standing)
        if isinstance(operation, Poll) and observation is None:
            actor.waited = 1 << 62
        if isinstance(operation, FirmwareCall):
            assert isinstance(observation, tuple)
            self._script.answer = Answer(*observation)
        return standing

    def _task(self, history: TaskHistory | None) -> tuple[HostTask | None, Operation | None]:
        return self._tasks.take(history) if history is not None else (None, None)
