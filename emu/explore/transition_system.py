"""The world: where all actors stand and what they share, as a value, and what each next step makes of it.

It does to shared state what :class:`emu.machine.Machine` does, without running anything: an actor's own part
comes from its places. A state is hashable; memory is kept beside it, with a hash in it and an undo list,
because it is large and changes little.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from emu.actor import State
from emu.explore.firmware import Answers, Firmware
from emu.explore.footprints import GRANULE, Footprints
from emu.explore.global_state import GlobalState, Note, Stepped, Transition, Undo
from emu.explore.local_state import Action, Edge, LocalState, Verb
from emu.explore.thread_stepper import WAKE, Effect, ThreadStepper
from emu.models import caches
from emu.models.caches import Choice, Line
from emu.models.domain import note_lost
from emu.operation import Kind
from emu.schedulers import Pick

SPIN_MAX = 256  # steps of a loop that is looked through whether it does nothing but look
_CELL = 8


class TransitionSystem:
    """Takes steps on states. ``locations`` says which lines are followed, and is that of the round."""

    def __init__(
        self,
        stepper: ThreadStepper,
        footprints: Footprints,
        firmware: Firmware | None,
        event_register: int,
        granule: int,
    ) -> None:
        self.stepper = stepper
        self.footprints = footprints
        self.memory: dict[int, int] = {}  # PA >> 3 to value, of what has been stored
        self._initial: dict[int, int] = {}
        self._read = stepper.machine.memory.read
        self._answers = Answers(stepper, firmware) if firmware else None
        self._first_firmware = firmware.state() if firmware else None
        self._event_at_reset = event_register
        self._granule = granule
        self.all_cpus = (1 << len(stepper.start)) - 1

    def first(self) -> GlobalState:
        """Return the state at the beginning; memory must be as it was then."""
        assert not self.memory, "steps were not undone"
        events = self.all_cpus * self._event_at_reset & ~self._asleep(self.stepper.start)
        read = self.stepper.machine.memory.read_bytes
        lines = tuple(Line(read(pa, self._granule)) for pa in self.footprints.lines)
        return GlobalState(self.stepper.start, 0, events, 0, 0, self._first_firmware, (), lines, 0)

    @staticmethod
    def _asleep(locals: Iterable[LocalState]) -> int:
        return sum(1 << local.cpu for local in locals if local.state is State.WAITING)

    # -- looking ----------------------------------------------------------------------------------

    def cell(self, number: int) -> int:
        """Return the u64 at PA ``number << 3`` as CPUs see it that no followed line comes between."""
        value = self.memory.get(number)
        if value is None:
            value = self._initial.get(number)
            if value is None:
                value = self._initial[number] = self._read(number << 3, 8)
        return value

    def looked(self, state: GlobalState, action: Action) -> Any:
        """Return what the loads of ``action`` give now: of one its value, of several a tuple."""
        if action.followed:
            return self._looked_in_lines(state, action)
        cells = action.cells
        if len(cells) == 1:
            number, shift, mask, _, is_store = cells[0]
            return None if is_store else self.cell(number) >> shift & mask
        found = [self.cell(number) >> shift & mask for number, shift, mask, _, st in cells if not st]
        return tuple(found) if len(found) != 1 else found[0]

    def _looked_in_lines(self, state: GlobalState, action: Action) -> Any:
        found = []
        for access in action.accesses:
            if access.is_store and action.verb is not Verb.UPDATE:
                continue
            first = access.pa & -self._granule
            index = self.footprints.line_index.get(first)
            if index is None:
                at = access.pa % _CELL
                found.append(self.cell(access.pa >> 3) >> 8 * at & (1 << 8 * access.size) - 1)
                continue
            at = access.pa - first
            data = state.lines[index].view(access.cacheable)[at : at + access.size]
            found.append(int.from_bytes(data, "little"))
        if not found:
            return None
        return tuple(found) if len(found) != 1 else found[0]

    def can_step(self, state: GlobalState, cpu: int) -> bool:
        """Tell whether the actor can do its next operation; a poll can when it would end."""
        local = state.locals[cpu]
        if local.state is not State.RUNNABLE:
            return False
        action = local.action
        verb = action.verb
        if verb is Verb.DELAY:
            return False  # time passes when nobody can do anything
        if verb is Verb.LOCAL:
            return not (local.is_target and self.spins(state, cpu))
        if verb is Verb.UNTIL or verb is Verb.POLL:
            return self._is_over(action, self.looked(state, action))
        return not (local.is_target and self.spins(state, cpu))

    @staticmethod
    def _is_over(action: Action, value: object) -> bool:
        (wanted,) = action.detail
        return value == wanted or (wanted is None and value != 0)

    def spins(self, state: GlobalState, cpu: int) -> int:
        """Tell whether the actor goes round in a loop that does nothing but look; the bits that it reads.

        0: it does not; of a loop that reads nothing, the bit of its own event register.
        """
        begin = local = state.locals[cpu]
        bits = self.footprints.event(cpu)
        for _ in range(SPIN_MAX):
            action = local.action
            if action.writes or action.verb not in (Verb.LOCAL, Verb.ACCESS):
                return 0
            if action.followed and self._would_fill(state, action):
                return 0
            edge = local.edges.get(self.looked(state, action))
            if edge is None or edge.local.state is not State.RUNNABLE:
                return 0
            bits |= action.reads
            local = edge.local
            if local is begin:
                return bits
        return 0

    def _would_fill(self, state: GlobalState, action: Action) -> bool:
        for access in action.accesses:
            index = self.footprints.line_index.get(access.pa & -self._granule)
            if index is not None and access.cacheable and state.lines[index].cached is None:
                return True
        return False

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
            case State.RUNNABLE if local.action.verb is not Verb.DELAY:
                if local.action.verb in (Verb.UNTIL, Verb.POLL):
                    return local.action.reads_over
                return footprints.over(self.spins(state, cpu))
        return 0

    def would_go_on(self, state: GlobalState, cpu: int) -> int | None:
        """Tell whether an actor that sleeps in WFE would leave its loop if it were woken now.

        :return: the PA of the first word that it would look at, 0 for none; None: it would sleep again
        """
        local, looked = self._edge(state, state.locals[cpu], WAKE).local, 0
        is_task = local.history is not None
        for _ in range(SPIN_MAX):
            action = local.action
            if local.state in (State.WAITING, State.IDLE) or action.verb is Verb.WFE:
                return None
            if local.state is not State.RUNNABLE:  # a PE comes to its end and does nothing more
                return looked if is_task else None
            if action.verb not in (Verb.LOCAL, Verb.ACCESS) or action.writes:
                return looked
            if action.accesses and not looked:
                looked = action.accesses[0].pa
            if local.history is None or not local.edges:  # a PE
                pass
            local = self._edge(state, local, self.looked(state, action)).local
        return looked

    # -- steps ------------------------------------------------------------------------------------

    def _edge(self, state: GlobalState, local: LocalState, observation: object) -> Edge:
        found = local.edges.get(observation)
        if found is None:
            count = len(self.stepper.locals)
            found = self.stepper.edge(local, observation, partial(self._lend, state))
            self.footprints.refresh(self.stepper.locals[count:])
        return found

    def _lend(self, state: GlobalState, local: LocalState) -> dict[int, bytes]:
        # Memory as the actor finds it, by cells.
        lent = {number << 3: value.to_bytes(8, "little") for number, value in self.memory.items()}
        cacheable = all(access.cacheable for access in local.action.accesses)
        for first, line in zip(self.footprints.lines, state.lines, strict=True):
            data = line.view(cacheable)
            for at in range(0, self._granule, _CELL):
                lent[first + at] = data[at : at + _CELL]
        return lent

    def step(self, state: GlobalState, cpu: int) -> Stepped:
        """Let an actor that can do its next operation."""
        local = state.locals[cpu]
        action = local.action
        verb = action.verb
        pick = Pick("run", cpu)
        if verb is Verb.LOCAL:
            edge = local.edges.get(None) or self._edge(state, local, None)
            return self._moved(state, cpu, edge), [], Transition(pick, ((cpu, edge),))
        if verb is Verb.ACCESS and not action.followed:
            seen = self.looked(state, action)
            edge = local.edges.get(seen) or self._edge(state, local, seen)
            undo: Undo = []
            if action.writes:
                state = self._store(state, cpu, action, undo)
            return self._moved(state, cpu, edge), undo, Transition(pick, ((cpu, edge),))
        return self._other(state, cpu, local, pick)

    @staticmethod
    def _moved(state: GlobalState, cpu: int, edge: Edge) -> GlobalState:
        locals = state.locals
        return state._replace(locals=(*locals[:cpu], edge.local, *locals[cpu + 1 :]))

    def _store(self, state: GlobalState, cpu: int, action: Action, undo: Undo) -> GlobalState:
        # The stores of an action to memory that no followed line holds.
        memory, digest = self.memory, state.memory
        for number, shift, mask, value, is_store in action.cells:
            if not is_store:
                continue
            old = self.cell(number)
            new = old & ~(mask << shift) | value << shift
            if new != old:
                undo.append((number, memory.get(number)))
                digest ^= hash((number, old)) ^ hash((number, new))
                memory[number] = new
        if digest != state.memory:
            state = state._replace(memory=digest)
        return self._cleared(state, cpu, action)

    def _cleared(self, state: GlobalState, cpu: int, action: Action) -> GlobalState:
        # A store clears the monitors of others on its granule: an event for them.
        if not action.writes & self.footprints.events:
            return state
        granules = {access.pa & -GRANULE for access in action.accesses}
        hit = 0
        for local in state.locals:
            bit = 1 << local.cpu
            if local.cpu != cpu and local.armed in granules and not state.lost & bit:
                hit |= bit
        if not hit:
            return state
        return state._replace(lost=state.lost | hit, events=state.events | hit)

    def undo(self, undo: Undo) -> None:
        """Put memory back to what it was before a step."""
        for number, old in reversed(undo):
            if old is None:
                del self.memory[number]
            else:
                self.memory[number] = old

    def _other(self, state: GlobalState, cpu: int, local: LocalState, pick: Pick) -> Stepped:
        action, bit = local.action, 1 << cpu
        if action.verb is Verb.CALL:
            return self._call(state, cpu, local, pick)
        seen = self._seen(state, local)
        edge = self._edge(state, local, seen)  # with memory as it is before
        undo: Undo = []
        notes: list[Note] = []
        match action.verb:
            case Verb.ACCESS | Verb.UNTIL | Verb.POLL:
                state = self._touch(state, cpu, action, undo, notes)
            case Verb.UPDATE:
                expected, _new = action.detail
                state = self._touch(state, cpu, action, undo, notes, expected is None or seen == expected)
            case Verb.WFE:
                state = state._replace(events=state.events & ~bit)
            case Verb.SEVL:
                state = state._replace(events=state.events | bit)
            case Verb.SEV:
                on = sum(1 << other.cpu for other in state.locals if not other.is_off)
                state = state._replace(events=state.events | on)
            case Verb.WFI:
                state = state._replace(interrupts=state.interrupts & ~bit)
            case Verb.MAINTAIN:
                (word,) = action.detail
                assert isinstance(word, int)
                state = self._change(
                    state, action.accesses[0].pa, lambda line: caches.maintain(line, word), notes
                )
            case Verb.LOAD_EXCLUSIVE:
                state = self._touch(state, cpu, action, undo, notes)._replace(lost=state.lost & ~bit)
            case Verb.STORE_EXCLUSIVE if seen:
                state = self._touch(state, cpu, action, undo, notes)
        edges = [(cpu, edge)]
        state = self._moved(state, cpu, edge)
        if action.verb is Verb.SEND:
            (target,) = action.detail
            assert isinstance(target, int)
            state = self._interrupt(state, target, edges)
        return self._woken(state, edges), undo, Transition(pick, tuple(edges), tuple(notes))

    def _seen(self, state: GlobalState, local: LocalState) -> object:
        # What the actor observes when it does its operation now.
        action, bit = local.action, 1 << local.cpu
        match action.verb:
            case Verb.ACCESS | Verb.UNTIL | Verb.POLL | Verb.LOAD_EXCLUSIVE:
                return self.looked(state, action)
            case Verb.UPDATE:
                return self._old(state, action)
            case Verb.WFE:
                return bool(state.events & bit)
            case Verb.WFI:
                return bool(state.interrupts & bit)
            case Verb.STORE_EXCLUSIVE:
                return local.armed == action.accesses[0].pa & -GRANULE and not state.lost & bit
        return None

    def _woken(self, state: GlobalState, edges: list[tuple[int, Edge]]) -> GlobalState:
        # Whoever sleeps in WFE with an event wakes and consumes it.
        for local in state.locals:
            bit = 1 << local.cpu
            if local.state is State.WAITING and state.events & bit:
                edge = self._edge(state, local, WAKE)
                edges.append((local.cpu, edge))
                state = self._moved(state, local.cpu, edge)._replace(events=state.events & ~bit)
        return state

    def _interrupt(self, state: GlobalState, target: int, edges: list[tuple[int, Edge]]) -> GlobalState:
        local = state.locals[target]
        if local.is_off:
            return state
        if local.state is State.IDLE:
            edge = self._edge(state, local, WAKE)
            edges.append((target, edge))
            return self._moved(state, target, edge)
        return state._replace(interrupts=state.interrupts | 1 << target)

    def _old(self, state: GlobalState, action: Action) -> int:
        if action.followed:
            value: int = self._looked_in_lines(state, action)
            return value
        ((number, shift, mask, _, _),) = action.cells
        return self.cell(number) >> shift & mask

    def _touch(
        self,
        state: GlobalState,
        cpu: int,
        action: Action,
        undo: Undo,
        notes: list[Note],
        stores: bool = True,
    ) -> GlobalState:
        # The accesses of an action, through the lines where they are followed.
        if not action.followed:
            return self._store(state, cpu, action, undo) if stores and action.writes else state
        lines = list(state.lines)
        for access in action.accesses:
            first = access.pa & -self._granule
            index = self.footprints.line_index.get(first)
            if index is None:
                if access.is_store and stores:
                    state = self._store_one(state, access.pa, access.size, access.value, undo)
                continue
            line, at = lines[index], access.pa - first
            if not access.is_store or action.verb is Verb.UPDATE:
                newer = caches.stale(line, at, access.size, access.cacheable)
                if newer is not None:
                    notes.append(Note(Kind.STALE, access.pa, int.from_bytes(newer, "little"), access.size))
                line = caches.loaded(line, access.cacheable)
            if access.is_store and stores:
                data = (access.value & (1 << 8 * access.size) - 1).to_bytes(access.size, "little")
                line = caches.stored(line, at, data, access.cacheable)
            lines[index] = line
        state = state._replace(lines=tuple(lines))
        return self._cleared(state, cpu, action) if stores else state

    def _store_one(self, state: GlobalState, pa: int, size: int, value: int, undo: Undo) -> GlobalState:
        mask, shift, number = (1 << 8 * size) - 1, 8 * (pa % _CELL), pa >> 3
        old = self.cell(number)
        new = old & ~(mask << shift) | (value & mask) << shift
        undo.append((number, self.memory.get(number)))
        self.memory[number] = new
        return state._replace(memory=state.memory ^ hash((number, old)) ^ hash((number, new)))

    def _change(self, state: GlobalState, pa: int, change: Any, notes: list[Note]) -> GlobalState:
        # Something happens to a whole line.
        first = pa & -self._granule
        index = self.footprints.line_index.get(first)
        if index is None:
            return state
        line = state.lines[index]
        new, lost = change(line)
        note_lost(lambda *note: notes.append(Note(*note)), first, line, new, lost)
        return state._replace(lines=(*state.lines[:index], new, *state.lines[index + 1 :]))

    # -- what nobody asks for ---------------------------------------------------------------------

    def time_out(self, state: GlobalState, cpu: int) -> Stepped:
        """Let the poll of an actor give up."""
        local = state.locals[cpu]
        notes: list[Note] = []
        undo: Undo = []
        edge = self._edge(state, local, None)
        state = self._touch(state, cpu, local.action, undo, notes)
        transition = Transition(Pick("timeout", cpu), ((cpu, edge),), tuple(notes))
        return self._moved(state, cpu, edge), undo, transition

    def wake(self, state: GlobalState, cpu: int) -> Stepped:
        """End the WFE of an actor without an event."""
        edge = self._edge(state, state.locals[cpu], WAKE)
        return self._moved(state, cpu, edge), [], Transition(Pick("wake", cpu), ((cpu, edge),))

    def line_choices(self, state: GlobalState, index: int) -> tuple[Choice, ...]:
        """Return what the caches may do to a followed line."""
        return caches.choices(state.lines[index])

    def line_choice(self, state: GlobalState, index: int, choice: Choice) -> Stepped:
        """Let the caches do it."""
        pa = self.footprints.lines[index]
        notes: list[Note] = []
        state = self._change(state, pa, lambda line: caches.choose(line, choice), notes)
        notes.append(Note(Kind.LINE, pa, list(Choice).index(choice), 0))
        return state, [], Transition(Pick(choice.value, pa), (), tuple(notes))

    # -- firmware ---------------------------------------------------------------------------------

    def _call(self, state: GlobalState, cpu: int, local: LocalState, pick: Pick) -> Stepped:
        assert self._answers is not None, "a call without firmware"
        off = tuple(other.is_off for other in state.locals)
        answer, effects, remembered, delayed = self._answers.call(
            state.firmware, off, cpu, local.action.detail
        )
        edge = self._edge(state, local, (answer, effects))
        state = self._moved(state, cpu, edge)._replace(firmware=remembered)
        if delayed:
            state = state._replace(later=(*state.later, *delayed))
        for effect in effects:
            state = self._power(state, effect)
        return state, [], Transition(pick, ((cpu, edge),))

    def _power(self, state: GlobalState, effect: Effect) -> GlobalState:
        what, cpu, *detail = effect
        if what == "off":
            return state
        entry_pa, x0, el = detail
        old = state.locals[cpu]
        local = self.stepper.switched_on(cpu, entry_pa, x0, el, old.landings)
        if self.stepper.grew:
            self.footprints.refresh([local])
        bit = 1 << cpu
        events = state.events | bit if self._event_at_reset else state.events & ~bit
        locals = (*state.locals[:cpu], local, *state.locals[cpu + 1 :])
        return state._replace(locals=locals, events=events, lost=state.lost & ~bit)

    def start(self, state: GlobalState, index: int) -> Stepped:
        """Let a start take effect that firmware has delayed."""
        assert self._answers is not None
        cpu, arguments = state.later[index]
        off = tuple(other.is_off for other in state.locals)
        effects, remembered = self._answers.start(state.firmware, off, arguments)
        later = state.later[:index] + state.later[index + 1 :]
        state = state._replace(later=later, firmware=remembered)
        notes = []
        for effect in effects:
            state = self._power(state, effect)
            _, target, entry_pa, x0, _ = effect
            notes.append(Note(Kind.POWER_ON, entry_pa, x0, target))
        return state, [], Transition(Pick("start", cpu), (), tuple(notes))
