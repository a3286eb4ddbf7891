"""Host tasks: one operation after the other, as the scheduler has it, at the cost of the latency profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.machine.actor import Actor, Grain, State
from emu.milestone import Reach
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
    SendEvent,
    SendInterrupt,
    Store,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.semantics.state import members
from emu.semantics.transition import is_over, perform

if TYPE_CHECKING:
    from emu.machine.machine import Machine

TASK_SLICE = 1 << 10  # operations of a host task at free speed before others get a turn
_EVENTS = frozenset(EVENTS)


class HostTasks:
    """Runs the host tasks of ``machine``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._queue = machine.queue
        self._recorder = machine.recorder
        self._memory = machine.host_memory
        self.advanced: Callable[[int, Actor], None] | None = None  # is called where a task stands anew
        # By class, for all but Store and Load.
        self._does: dict[type, Callable[[int, Actor, Any], object]] = {
            LoadUntil: self._load_until,
            Poll: self._poll,
            AtomicUpdate: self._update,
            SendEvent: self._signal,
            SendInterrupt: self._signal,
            WaitForEvent: self._sleep,
            WaitForInterrupt: self._sleep,
            Barrier: self._barrier,
            CacheOp: self._maintain,
            Copy: self._copy,
            Reboot: self._reboot,
            FirmwareCall: self._call,
            GuestCall: self._enter_guest,
            Delay: self._end_delay,
            Park: self._park,
        }

    def run(self, cpu: int, actor: Actor) -> None:
        """Run the task of ``cpu``: one operation, or at free grain until it gives way or its slice ends."""
        machine, memory, does = self._machine, self._memory, self._does
        cost, runnable = machine.latency.host_operation, State.RUNNABLE
        done = 0
        slice_max = TASK_SLICE if machine.grain is Grain.FREE else 1
        slice_max = min(slice_max, machine.instructions_left)
        while done < slice_max:
            done += 1
            operation = actor.pending
            assert operation is not None
            actor.time += cost
            kind = operation.__class__
            result: object = None
            if kind is Store:  # most are stores and loads
                memory.store(cpu, actor, *operation)
            elif kind is Load:
                result = memory.load(cpu, actor, *operation)
            else:
                result = does[kind](cpu, actor, operation)
                if actor.task is None:
                    break
                if actor.state is not runnable:
                    if actor.state in (State.WAITING, State.IDLE):
                        actor.pending = None  # resumed by the event or the interrupt
                    break  # or ended, or spinning: a store to the word makes it look again
            self.advance(cpu, actor, result)
            if actor.state is not runnable or actor.task is None or kind is Delay or machine.stopped:
                break
        clock = machine.clock
        clock.begun += done
        if clock.begun >= machine.instructions_max:
            machine.count(0)

    def advance(self, cpu: int, actor: Actor, value: object) -> None:
        """Run the generator's own code up to its next operation; events on the way go to the trace."""
        task = actor.task
        assert task is not None
        actor.pending = None
        actor.restarted = False
        actor.advances += 1
        try:
            operation = task.send(value)
            while operation.__class__ in _EVENTS:
                self._event(cpu, actor, operation)
                operation = task.send(None)
        except StopIteration as done:
            actor.task = None
            if done.value is not None:
                self._machine.power.enter(cpu, *done.value)
            else:
                self._queue.set(cpu, State.ENDED)
            return
        if self.advanced is not None:
            self.advanced(cpu, actor)
        actor.pending = operation
        actor.waited = 0
        actor.slept = False
        if operation.__class__ is Delay:
            assert isinstance(operation, Delay)
            self._delay(cpu, actor, operation.ns)
        elif actor.state is not State.RUNNABLE:
            self._queue.set(cpu, State.RUNNABLE)

    def _delay(self, cpu: int, actor: Actor, ns: int) -> None:
        actor.deadline = actor.time + ns
        self._queue.set(cpu, State.DELAYED)
        self._machine.clock.set_timer(actor.deadline, cpu)

    def _event(self, cpu: int, actor: Actor, event: Operation) -> None:
        # What a task yields on the way to its next operation.
        match event:
            case Log(line, reported):
                self._recorder.log(cpu, actor.time, line, reported)
            case Again():
                actor.restarted = True
            case DeferLog(owner, line):
                self._recorder.defer_log(cpu, owner, line)
            case FlushDeferred(owner):
                self._recorder.flush_deferred(cpu, actor.time, owner)
            case Reach(milestone, about):
                self._recorder.milestone(cpu, milestone, about)

    # -- operations: each gives what the task gets for it --------------------------------------------

    def _load_until(self, cpu: int, actor: Actor, operation: LoadUntil) -> int:
        value = self._memory.load(cpu, actor, operation.pa, operation.size)
        if is_over(operation, value):
            self._end_wait(actor, operation)
        else:
            actor.slept = True
            self._queue.spin(cpu, operation.pa)
        return value

    def _end_wait(self, actor: Actor, operation: LoadUntil | Poll) -> None:
        # The word is stored to: the wait ends no earlier, and a task that has slept is woken.
        actor.time = max(actor.time, self._memory.stored_at.get(operation.pa, 0))
        if actor.slept and operation.sleeps:
            latency, waits = self._machine.latency, self._machine.waits
            waits.sleeps += 1
            actor.time += latency.sleep + (latency.sleep_timed if isinstance(operation, Poll) else 0)

    def _barrier(self, cpu: int, actor: Actor, operation: Barrier) -> None:
        if self._machine.model is not None:
            self._machine.model.barrier(cpu, operation.word)
        self._record(Kind.BARRIER, cpu, actor, 0, operation.word)

    def _maintain(self, cpu: int, actor: Actor, operation: CacheOp) -> None:
        machine, (word, pa) = self._machine, operation
        if machine.model is not None:
            machine.model.maintain(cpu, word, pa, delayed=machine.delays_maintenance)
        self._record(Kind.CACHE, cpu, actor, pa, word)

    def _copy(self, cpu: int, actor: Actor, operation: Copy) -> None:
        self._memory.copy(cpu, actor, *operation)

    def _reboot(self, cpu: int, actor: Actor, operation: Reboot) -> None:
        self._machine.reboot(operation.begin)
        actor.outcome = None
        actor.task = None
        self._queue.set(cpu, State.ENDED)

    def _enter_guest(self, _cpu: int, actor: Actor, operation: GuestCall) -> None:
        actor.task, actor.suspended = None, actor.task
        for index, argument in enumerate(operation.arguments):
            actor.pe.x[index] = argument
        actor.pe.x[30] = self._machine.landings.return_va
        actor.pe.pc = operation.va

    def _end_delay(self, cpu: int, actor: Actor, operation: Delay) -> None:
        actor.time = max(actor.time, actor.deadline)
        self._record(Kind.DELAY, cpu, actor, 0, operation.ns)

    def _park(self, cpu: int, actor: Actor, operation: Park) -> None:
        self._record(Kind.PARK, cpu, actor, 0, 0)
        self._machine.end(cpu, operation.outcome, 0)

    def _update(self, cpu: int, actor: Actor, operation: AtomicUpdate) -> int:
        # Load, apply the transition, store. One that finds another value than it expects is a load alone.
        old = self._memory.read(operation.pa, operation.size)
        effect = perform(self._machine.interconnect.system, cpu, operation, (old,))
        for access in effect.stores:
            self._memory.write(actor, access)
        kind, value = (Kind.ATOMIC, operation.new) if effect.stores else (Kind.LOAD, old)
        self._record(kind, cpu, actor, operation.pa, value, operation.size)
        return old

    def _signal(self, cpu: int, actor: Actor, operation: SendEvent | SendInterrupt) -> None:
        # Apply the transition, and let those go on whom it wakes.
        interconnect, waking = self._machine.interconnect, self._machine.waking
        before = interconnect.system
        interconnect.system = after = perform(before, cpu, operation).state
        if isinstance(operation, SendEvent):
            self._record(Kind.SEV, cpu, actor, 0, 0)
            waking.wake_sleepers()
            return
        self._record(Kind.SEND_INTERRUPT, cpu, actor, 0, operation.cpu)
        for other in members(before.idle & ~after.idle):
            waking.wake_idle(other)

    def _sleep(self, cpu: int, actor: Actor, operation: WaitForEvent | WaitForInterrupt) -> object:
        effect = perform(self._machine.interconnect.system, cpu, operation)
        is_wfe = isinstance(operation, WaitForEvent)
        self._record(Kind.WFE if is_wfe else Kind.WFI, cpu, actor, 0, int(not effect.result))
        self._machine.interconnect.system = effect.state
        if effect.result:
            return True
        if is_wfe:
            actor.pe.counters.wfe_sleeps += 1
        self._queue.set(cpu, State.WAITING if is_wfe else State.IDLE)
        return None

    def _poll(self, cpu: int, actor: Actor, operation: Poll) -> object:
        waits = self._machine.waits
        waits.looks += 1
        if actor.waited:
            cost = self._machine.latency.host_operation
            began = actor.time - cost
            pause = operation.pause(actor.waited - 1) if actor.deadline <= began else actor.deadline - began
            actor.time = max(began, actor.deadline) + 2 * cost
            self._record(Kind.DELAY, cpu, actor, 0, pause)
        if actor.waited > operation.timeout_ns:
            self._elapse()
        value = self._memory.load(cpu, actor, operation.pa, operation.size)
        if is_over(operation, value):
            self._end_wait(actor, operation)
            return value
        if actor.waited > operation.timeout_ns:
            return None
        actor.slept = True
        pause = operation.pause(actor.waited)
        if actor.waited < operation.busy_ns:
            self._queue.watch(cpu, operation.pa)
        else:
            waits.sleeps += 1
        actor.waited += pause
        self._delay(cpu, actor, pause)
        return None

    def _elapse(self) -> None:
        if self._machine.model is not None:
            self._machine.model.elapse()

    def _call(self, cpu: int, actor: Actor, call: FirmwareCall) -> int | None:
        machine = self._machine
        actor.pe.counters.calls += 1
        actor.time += machine.latency.call
        actor.spent += machine.latency.call  # the counter has it too
        return machine.power.firmware_call(cpu, self._recorder.host_pc(actor), *call)

    def _record(self, kind: Kind, cpu: int, actor: Actor, pa: int, value: int, size: int = 0) -> None:
        self._recorder.host_operation(kind, cpu, actor, pa, value, size)
