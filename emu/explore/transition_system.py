"""The transition system: takes steps on global states, without running anything.

An actor's own part of a step comes from its local states. What the step does to the state that CPUs share,
:mod:`emu.semantics.transition` says, as on the machine; what it does to memory is the memory model's part.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial

from emu.errors import Untestable
from emu.explore.cells import CELL, Undo, parts_of
from emu.explore.firmware import Answers
from emu.explore.footprints import Footprints
from emu.explore.global_state import GlobalState, Stepped, Transition
from emu.explore.history import noted_after
from emu.explore.lending import make_cells
from emu.explore.local_state import NO_UPDATES, Action, Edge, LocalState, OfPart
from emu.explore.thread_stepper import WAKE, ThreadStepper
from emu.machine.actor import State
from emu.machine.firmware import Firmware, PowerOff, PowerOn
from emu.models.protocol import Changed, ExploredMemory, Note
from emu.operation import (
    Access,
    Barrier,
    CacheOp,
    Delay,
    FirmwareCall,
    Kind,
    LoadExclusive,
    LoadUntil,
    Poll,
    SendInterrupt,
    StoreExclusive,
    WaitForEvent,
)
from emu.schedulers import Pick
from emu.semantics import events, monitors, power
from emu.semantics.state import SystemState, members
from emu.semantics.transition import is_over, perform, value_of

_WAITS = (
    LoadUntil,
    Poll,
)  # a tuple, because this room asks at every step, and `A | B` is a new object each time
# Steps of a path between two looks whether a CPU counts further than a path may be deep. A prime, so that
# looks come at all places of a loop: where it waits for an event nothing is proved.
LOOK_EVERY = 251
_PER_STEP = 64  # instructions of such a loop, at most, for each step
SPIN_MAX = 256  # steps of a loop that is looked through whether it does nothing but look


class TransitionSystem:
    """Takes steps on states. ``footprints`` and ``model`` are those of the round.

    :param mirrors: the machine's memory follows the states, until ``lender`` settles it: for long paths
    """

    def __init__(
        self,
        stepper: ThreadStepper,
        footprints: Footprints,
        model: ExploredMemory,
        firmware: Firmware | None,
        event_register: int,
        failures: int = 0,
        *,
        mirrors: bool = False,
    ) -> None:
        self.stepper = stepper
        self.footprints = footprints
        self.model = model
        self.cells, self.lender = make_cells(stepper.machine, mirrors)
        self._answers = Answers(stepper, firmware) if firmware else None
        self._first_firmware = firmware.state() if firmware else None
        self._event_at_reset = event_register
        self.failures_max = failures
        self._watch = stepper.watch
        self.all_cpus = (1 << len(stepper.start)) - 1

    def first(self) -> GlobalState:
        """Return the state at the beginning; memory must have its content of then."""
        assert not self.cells.stored, "steps were not undone"
        start = self.stepper.start
        system = SystemState(
            on=_set_of(start, lambda local: not local.is_off),
            asleep=_set_of(start, lambda local: local.state is State.WAITING),
            idle=_set_of(start, lambda local: local.state is State.IDLE),
            monitors=tuple((local.cpu, local.armed) for local in start if local.armed is not None),
        )
        system = system._replace(events=self.all_cpus * self._event_at_reset & ~system.asleep)
        memory = self.stepper.machine.memory
        model = self.model.initial(memory.read_bytes, memory.behind)
        first = GlobalState(start, 0, system, self._first_firmware, (), model, 0)
        return first if self._watch is None else self._watch.note(self, first)

    # -- looking ----------------------------------------------------------------------------------

    def loaded(self, state: GlobalState, cpu: int, action: Action) -> tuple[list[int], Hashable, list[Note]]:
        """Return the values of the operation's loads, and the model's state and notes after them."""
        values: list[int] = []
        notes: list[Note] = []
        model, granule, units = state.model, self.footprints.granule, self.footprints.unit_index
        for access in action.loads:
            if access.pa & -granule not in units:
                values.append(self.cells.load(access))
                continue
            found = self.model.loads(model, cpu, access)
            if len(found) > 1:
                raise Untestable(f"{action.where}: a load may return {len(found)} values: not explored yet")
            value, model, more = found[0]
            values.append(value)
            notes += more
        return values, model, notes

    def observed(self, state: GlobalState, cpu: int) -> object:
        """Return what the operation of an actor would give it now."""
        return self._observation(state, cpu, state.locals[cpu].action)

    def can_step(self, state: GlobalState, cpu: int) -> bool:
        """Tell whether the actor can do its next operation; a poll can when it would end."""
        local = state.locals[cpu]
        if local.state is not State.RUNNABLE:
            return False
        action, operation = local.action, local.action.operation
        if action.waits:
            assert isinstance(operation, _WAITS)
            aligned = not action.followed and len(action.cells) == 1
            value = self.cells.loaded(action.cells) if aligned else self.loaded(state, cpu, action)[0][0]
            return is_over(operation, value)
        if isinstance(operation, Delay):
            return False  # time passes when no actor can run
        return not (local.is_target and self.spins(state, cpu))

    def spins(self, state: GlobalState, cpu: int) -> int:
        """Tell whether the actor goes round in a loop that does nothing but look; the bits that it reads.

        0: it does not; of a loop that reads nothing, the bit of its own event register.
        """
        begin = local = state.locals[cpu]
        bits = self.footprints.event(cpu)
        for _ in range(SPIN_MAX):
            action = local.action
            if action.seen or (action.apart and self.footprints.parts(state.locals, cpu, action)):
                return 0
            if action.is_simple:
                if action.writes:
                    return 0
                seen = self.cells.loaded(action.cells)
            else:
                if not self._only_looks(state, cpu, action):
                    return 0
                values, model, _ = self.loaded(state, cpu, action)
                if model is not state.model and model != state.model:
                    return 0
                seen = value_of(values)
            edge = local.edges.get(seen)
            if edge is None or edge.local.state is not State.RUNNABLE:
                return 0
            bits |= action.reads | action.writes  # an exclusive load writes what it looks at
            local = edge.local
            if local is begin:
                return bits
        return 0

    def look_round(self, state: GlobalState, cpu: int) -> list[Transition]:
        """Let an actor that can go on look, as long as it does nothing else: it may come back to where it is.

        :return: its steps, when it does; nothing of the state has changed then
        """
        begin = local = state.locals[cpu]
        path: list[Transition] = []
        while local.state is State.RUNNABLE and not local.action.waits and len(path) < SPIN_MAX:
            action = local.action
            only_looks = not action.writes if action.is_simple else self._only_looks(state, cpu, action)
            if not only_looks:
                return []
            values, model, notes = self.loaded(state, cpu, action)
            if model != state.model:
                return []
            edge = self._edge(state, local, value_of(values))
            path.append(Transition(Pick("run", cpu), ((cpu, edge),), tuple(notes)))
            local = edge.local
            if local is begin:
                return path
        return []

    @staticmethod
    def _only_looks(state: GlobalState, cpu: int, action: Action) -> bool:
        # Whether the action changes no system state: an exclusive load does not when its monitor is armed.
        if isinstance(action.operation, LoadExclusive):
            return monitors.passes(state.system, cpu, action.accesses[0].pa)
        return action.only_looks

    def _observation(self, state: GlobalState, cpu: int, action: Action) -> object:
        if action.is_simple:
            return self.cells.loaded(action.cells)
        return perform(state.system, cpu, action.operation, self.loaded(state, cpu, action)[0]).result

    def waits_for(self, state: GlobalState, cpu: int) -> int:
        """Return the bits whose change can let an actor go on that cannot step."""
        local = state.locals[cpu]
        footprints = self.footprints
        match local.state:
            case State.OFF:
                return footprints.firmware
            case State.WAITING:
                return footprints.event(cpu)
            case State.IDLE:
                return footprints.interrupt(cpu)
            case State.RUNNABLE if not isinstance(local.action.operation, Delay):
                if local.action.waits:
                    return local.action.reads_over
                return footprints.over(self.spins(state, cpu))
        return 0

    def would_go_on(self, state: GlobalState, cpu: int, units: set[int] | None = None) -> int | None:
        """Tell whether an actor that sleeps in WFE would leave its loop if it were woken now.

        :param units: the numbers of the units of the memory model that it looks at are added
        :return: the PA of the first word that it would look at, 0 for none; None: it would sleep again
        """
        local, looked = self._edge(state, state.locals[cpu], WAKE).local, 0
        is_task = local.history is not None
        for _ in range(SPIN_MAX):
            action = local.action
            if local.state in (State.WAITING, State.IDLE) or isinstance(action.operation, WaitForEvent):
                return None
            if local.state is not State.RUNNABLE:  # a PE that has not looked comes to its end as it is
                return looked if is_task else looked or None
            if not action.only_looks and not (action.is_simple and not action.writes):
                return looked
            if action.accesses and not looked:
                looked = action.accesses[0].pa
            if units is not None:
                units.update(
                    index
                    for access in action.accesses
                    if (index := self.footprints.index_of(access.pa)) is not None
                )
            local = self._edge(state, local, self._observation(state, cpu, action)).local
        return looked

    def counts_on(self, state: GlobalState, cpu: int, steps: int) -> bool:
        """Tell whether it is proved that a CPU, which goes on alone, counts for more than so many steps."""
        local = state.locals[cpu]
        if local.history is not None or local.state is not State.RUNNABLE or local.made:
            return False
        return self.stepper.counts_on(local, _PER_STEP * steps, partial(self._lend, state))

    # -- steps ------------------------------------------------------------------------------------

    def _edge(self, state: GlobalState, local: LocalState, observation: object) -> Edge:
        found = local.edges.get(observation)
        if found is None:
            count = len(self.stepper.locals)
            found = self.stepper.edge(local, observation, partial(self._lend, state))
            self.footprints.refresh(self.stepper.locals[count:])
        return found

    def _lend(self, state: GlobalState, local: LocalState) -> dict[int, int]:
        # Memory as the actor finds it, by cells: maintenance of its own comes before its loads.
        lent = self.lender.lend()
        _, model, _ = self.loaded(state, local.cpu, local.action)
        cacheable = all(access.cacheable for access in local.action.accesses)
        for index, first in enumerate(self.model.units):
            data = self.model.seen(model, local.cpu, index, cacheable)
            for at in range(0, self.model.granule, CELL):
                lent[first + at] = int.from_bytes(data[at : at + CELL], "little")
        return lent

    def step(self, state: GlobalState, cpu: int) -> Stepped:
        """Let an actor do its next operation, which it can."""
        local = state.locals[cpu]
        action = local.action
        pick = Pick("run", cpu)
        if action.is_simple:
            # What perform() says of plain loads and stores that meet no monitor, by look-up.
            seen = self.cells.loaded(action.cells)
            edge = local.edges.get(seen) or self._edge(state, local, seen)
            undo: Undo = []
            if action.writes:
                digest = self.cells.store(action.cells, state.memory, undo)
                if digest != state.memory:
                    state = state._replace(memory=digest)
                if local.updates is not NO_UPDATES:
                    state = self.footprints.history.stored(state, local)
            return self._moved(state, cpu, edge), undo, Transition(pick, ((cpu, edge),))
        if isinstance(action.operation, FirmwareCall):
            return self._call(state, cpu, action.operation, pick)
        return self.perform(state, cpu, action, pick)

    def perform(self, state: GlobalState, cpu: int, action: Action, pick: Pick, part: int = -1) -> Stepped:
        """Let an actor do one operation: load, apply its transition, store, move on, wake who is woken.

        :param pick: what the schedule calls the step (:mod:`emu.explore.variants`)
        :param part: the number of the part of the actor's instruction that ``action`` is
        """
        undo: Undo = []
        values, model, notes = self.loaded(state, cpu, action)
        effect = perform(state.system, cpu, action.operation, values)
        observation = effect.result if part < 0 else OfPart(part, effect.result)
        edge = self._edge(state, state.locals[cpu], observation)  # with memory as it is before
        idle = state.system.idle
        state = state._replace(system=effect.state, model=model)
        if state.failed and effect.stores and isinstance(action.operation, StoreExclusive):
            state = state._replace(failed=state.failed & ~(15 << 4 * cpu))
        for access in self._made(edge, effect.stores) if action.updates else effect.stores:
            state = self._store(state, cpu, access, undo, notes)
        if effect.stores and state.locals[cpu].updates is not NO_UPDATES:
            only = None if part < 0 else effect.stores
            state = self.footprints.history.stored(state, state.locals[cpu], only)
        if action.followed and isinstance(action.operation, CacheOp):
            word, pa = action.operation
            delayed = pick.kind == "delay"
            changed = self.model.maintain(state.model, cpu, word, pa, delayed=delayed)
            state = self._changed(state, changed, notes)
        elif action.followed and isinstance(action.operation, Barrier):
            state = self._changed(state, self.model.barrier(state.model, cpu, action.operation.word), notes)
        elif isinstance(action.operation, Delay):
            state = self._changed(state, self.model.elapse(state.model), notes)
        if notes or (state.noted and action.followed):
            state = state._replace(noted=noted_after(state.noted, cpu, action.loads, notes))
        edges = [(cpu, edge)]
        state = self._moved(state, cpu, edge)
        if isinstance(action.operation, SendInterrupt):
            for other in members(idle & ~effect.state.idle):
                state = self._wake(state, other, edges)
        for other in members(events.woken(state.system)):
            state = state._replace(system=events.wake(state.system, other))
            state = self._wake(state, other, edges)
        return state, undo, Transition(pick, tuple(edges), tuple(notes))

    def _made(self, edge: Edge, stores: tuple[Access, ...]) -> tuple[Access, ...]:
        # The stores of an atomic instruction with the values that the machine has made of the loaded ones.
        rows = self.stepper.machine.trace.rows_of(edge.records)
        values = {(pa, size): value for kind, size, _, _, pa, value in rows if kind == Kind.STORE}
        return tuple(store._replace(value=values[store.pa, store.size]) for store in stores)

    def _moved(self, state: GlobalState, cpu: int, edge: Edge) -> GlobalState:
        locals, system = state.locals, state.system
        if system.monitors and edge.local.armed is None:
            system = monitors.disarm(system, cpu)
        if state.history:
            state = self.footprints.history.moved(state, cpu, edge.local)
        locals = (*locals[:cpu], edge.local, *locals[cpu + 1 :])
        # Every step comes here, and _replace() is slower.
        _, memory, _, firmware, later, model, early, failed, history, seen, noted = state
        moved = GlobalState(
            locals, memory, system, firmware, later, model, early, failed, history, seen, noted
        )
        return moved if self._watch is None else self._watch.note(self, moved)

    def _wake(self, state: GlobalState, cpu: int, edges: list[tuple[int, Edge]]) -> GlobalState:
        edge = self._edge(state, state.locals[cpu], WAKE)
        edges.append((cpu, edge))
        return self._moved(state, cpu, edge)

    def _store(
        self, state: GlobalState, cpu: int, access: Access, undo: Undo, notes: list[Note]
    ) -> GlobalState:
        if self.footprints.index_of(access.pa) is None:
            return state._replace(memory=self.cells.store(parts_of((access,)), state.memory, undo))
        return self._changed(state, self.model.store(state.model, cpu, access), notes)

    @staticmethod
    def _changed(state: GlobalState, changed: Changed, notes: list[Note]) -> GlobalState:
        notes += changed.notes
        return state._replace(model=changed.state)

    def next_local(self, state: GlobalState, cpu: int) -> LocalState:
        """Return where an operation leads that gives its actor nothing."""
        return self._edge(state, state.locals[cpu], None).local

    def undo(self, undo: Undo) -> None:
        """Restore memory to its content before a step."""
        self.cells.undo(undo)

    # -- what happens without an operation --------------------------------------------------------

    def time_out(self, state: GlobalState, cpu: int) -> Stepped:
        """Let the poll of an actor give up."""
        local = state.locals[cpu]
        edge = self._edge(state, local, None)
        changed = self.model.elapse(state.model)
        state = state._replace(model=changed.state)
        _, model, notes = self.loaded(state, cpu, local.action)
        notes = [*changed.notes, *notes]
        noted = noted_after(state.noted, cpu, local.action.loads, notes)
        state = self._moved(state._replace(model=model, noted=noted), cpu, edge)
        return state, [], Transition(Pick("timeout", cpu), ((cpu, edge),), tuple(notes))

    def wake(self, state: GlobalState, cpu: int) -> Stepped:
        """End the WFE of an actor without an event."""
        edges: list[tuple[int, Edge]] = []
        woken = state._replace(system=events.wake(state.system, cpu))
        woken = self._wake(woken, cpu, edges)
        return woken, [], Transition(Pick("wake", cpu), tuple(edges))

    def choices(self, state: GlobalState, unit: int) -> tuple[str, ...]:
        """Return what may happen by itself to a unit of the memory model, as letters."""
        return self.model.choices(state.model, unit)

    def choose(self, state: GlobalState, unit: int, letter: str) -> Stepped:
        """Let it happen."""
        notes: list[Note] = []
        state = self._changed(state, self.model.choose(state.model, unit, letter), notes)
        state = state._replace(noted=noted_after(state.noted, 0, (), notes))
        return state, [], Transition(Pick(letter, self.model.units[unit]), (), tuple(notes))

    # -- firmware ---------------------------------------------------------------------------------

    def _call(self, state: GlobalState, cpu: int, call: FirmwareCall, pick: Pick) -> Stepped:
        assert self._answers is not None, "a call without firmware"
        answer = self._answers.call(state.firmware, state.system.on, cpu, call)
        edge = self._edge(state, state.locals[cpu], (answer.result, answer.effects))
        state = self._moved(state, cpu, edge)._replace(firmware=answer.state)
        if answer.delayed:
            state = state._replace(later=(*state.later, *answer.delayed))
        for effect in answer.effects:
            state = self._power(state, effect)
        return state, [], Transition(pick, ((cpu, edge),))

    def _power(self, state: GlobalState, effect: PowerOn | PowerOff) -> GlobalState:
        if isinstance(effect, PowerOff):
            return state._replace(system=power.power_off(state.system, effect.cpu))
        cpu, entry_pa, x0, el = effect
        local = self.stepper.switched_on(cpu, entry_pa, x0, el, state.locals[cpu].landings)
        if self.stepper.grew:
            self.footprints.refresh([local])
        locals = (*state.locals[:cpu], local, *state.locals[cpu + 1 :])
        state = self.footprints.history.moved(state, cpu, local)
        system = power.power_on(state.system, cpu, event=bool(self._event_at_reset))
        return state._replace(locals=locals, system=system)

    def start(self, state: GlobalState, index: int) -> Stepped:
        """Let a start take effect that firmware has delayed."""
        assert self._answers is not None
        later = state.later[index]
        answer = self._answers.start(state.firmware, state.system.on, later)
        left = state.later[:index] + state.later[index + 1 :]
        state = state._replace(later=left, firmware=answer.state)
        notes = []
        for effect in answer.effects:
            state = self._power(state, effect)
            assert isinstance(effect, PowerOn), "a start switches a CPU on"
            notes.append(Note(Kind.POWER_ON, effect.entry_pa, effect.x0, effect.cpu))
        return state, [], Transition(Pick("start", later.cpu), (), tuple(notes))


def _set_of(locals: Iterable[LocalState], holds: Callable[[LocalState], bool]) -> int:
    # The CPUs whose local state is such a one, as bits.
    return sum(1 << local.cpu for local in locals if holds(local))
