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
from emu.explore.locations import GRANULE, Locations
from emu.explore.place import Action, Edge, Place, Verb
from emu.explore.rig import WAKE, Effect, Rig
from emu.explore.shared import Note, Shared, Stepped, Taken, Undo
from emu.models import caches
from emu.models.caches import Choice, Line
from emu.models.domain import note_lost
from emu.operation import Kind
from emu.schedulers import Pick

SPIN_MAX = 256  # steps of a loop that is looked through whether it does nothing but look
_CELL = 8


class World:
    """Takes steps on states. ``locations`` says which lines are followed, and is that of the round."""

    def __init__(
        self, rig: Rig, locations: Locations, firmware: Firmware | None, event_register: int, granule: int
    ) -> None:
        self.rig = rig
        self.locations = locations
        self.memory: dict[int, int] = {}  # PA >> 3 to value, of what has been stored
        self._initial: dict[int, int] = {}
        self._read = rig.machine.memory.read
        self._answers = Answers(rig, firmware) if firmware else None
        self._first_firmware = firmware.state() if firmware else None
        self._event_at_reset = event_register
        self._granule = granule
        self.all_cpus = (1 << len(rig.start)) - 1

    def first(self) -> Shared:
        """Return the state at the beginning; memory must be as it was then."""
        assert not self.memory, "steps were not undone"
        events = self.all_cpus * self._event_at_reset & ~self._asleep(self.rig.start)
        read = self.rig.machine.memory.read_bytes
        lines = tuple(Line(read(pa, self._granule)) for pa in self.locations.lines)
        return Shared(self.rig.start, 0, events, 0, 0, self._first_firmware, (), lines, 0)

    @staticmethod
    def _asleep(places: Iterable[Place]) -> int:
        return sum(1 << place.cpu for place in places if place.state is State.WAITING)

    # -- looking ----------------------------------------------------------------------------------

    def cell(self, number: int) -> int:
        """Return the u64 at PA ``number << 3`` as CPUs see it that no followed line comes between."""
        value = self.memory.get(number)
        if value is None:
            value = self._initial.get(number)
            if value is None:
                value = self._initial[number] = self._read(number << 3, 8)
        return value

    def looked(self, shared: Shared, action: Action) -> Any:
        """Return what the loads of ``action`` give now: of one its value, of several a tuple."""
        if action.shared:
            return self._looked_in_lines(shared, action)
        cells = action.cells
        if len(cells) == 1:
            number, shift, mask, _, is_store = cells[0]
            return None if is_store else self.cell(number) >> shift & mask
        found = [self.cell(number) >> shift & mask for number, shift, mask, _, st in cells if not st]
        return tuple(found) if len(found) != 1 else found[0]

    def _looked_in_lines(self, shared: Shared, action: Action) -> Any:
        found = []
        for access in action.accesses:
            if access.is_store and action.verb is not Verb.UPDATE:
                continue
            first = access.pa & -self._granule
            index = self.locations.line_index.get(first)
            if index is None:
                at = access.pa % _CELL
                found.append(self.cell(access.pa >> 3) >> 8 * at & (1 << 8 * access.size) - 1)
                continue
            at = access.pa - first
            data = shared.lines[index].view(access.cacheable)[at : at + access.size]
            found.append(int.from_bytes(data, "little"))
        if not found:
            return None
        return tuple(found) if len(found) != 1 else found[0]

    def can_step(self, shared: Shared, cpu: int) -> bool:
        """Tell whether the actor can do its next operation; a poll can when it would end."""
        place = shared.places[cpu]
        if place.state is not State.RUNNABLE:
            return False
        action = place.action
        verb = action.verb
        if verb is Verb.DELAY:
            return False  # time passes when nobody can do anything
        if verb is Verb.LOCAL:
            return not (place.is_target and self.spins(shared, cpu))
        if verb is Verb.UNTIL or verb is Verb.POLL:
            return self._is_over(action, self.looked(shared, action))
        return not (place.is_target and self.spins(shared, cpu))

    @staticmethod
    def _is_over(action: Action, value: object) -> bool:
        (wanted,) = action.detail
        return value == wanted or (wanted is None and value != 0)

    def spins(self, shared: Shared, cpu: int) -> int:
        """Tell whether the actor goes round in a loop that does nothing but look; the bits that it reads.

        0: it does not; of a loop that reads nothing, the bit of its own event register.
        """
        begin = place = shared.places[cpu]
        bits = self.locations.event(cpu)
        for _ in range(SPIN_MAX):
            action = place.action
            if action.writes or action.verb not in (Verb.LOCAL, Verb.ACCESS):
                return 0
            if action.shared and self._would_fill(shared, action):
                return 0
            edge = place.edges.get(self.looked(shared, action))
            if edge is None or edge.place.state is not State.RUNNABLE:
                return 0
            bits |= action.reads
            place = edge.place
            if place is begin:
                return bits
        return 0

    def _would_fill(self, shared: Shared, action: Action) -> bool:
        for access in action.accesses:
            index = self.locations.line_index.get(access.pa & -self._granule)
            if index is not None and access.cacheable and shared.lines[index].cached is None:
                return True
        return False

    def waits_for(self, shared: Shared, cpu: int) -> int:
        """Return the bits whose change can let an actor go on that cannot step."""
        place = shared.places[cpu]
        locations = self.locations
        match place.state:
            case State.OFF:
                return locations.firmware
            case State.WAITING:
                return locations.event(cpu)
            case State.IDLE:
                return locations.interrupt(cpu)
            case State.RUNNABLE if place.action.verb is not Verb.DELAY:
                if place.action.verb in (Verb.UNTIL, Verb.POLL):
                    return place.action.reads_over
                return locations.over(self.spins(shared, cpu))
        return 0

    def would_go_on(self, shared: Shared, cpu: int) -> int | None:
        """Tell whether an actor that sleeps in WFE would leave its loop if it were woken now.

        :return: the PA of the first word that it would look at, 0 for none; None: it would sleep again
        """
        place, looked = self._edge(shared, shared.places[cpu], WAKE).place, 0
        is_task = place.point is not None
        for _ in range(SPIN_MAX):
            action = place.action
            if place.state in (State.WAITING, State.IDLE) or action.verb is Verb.WFE:
                return None
            if place.state is not State.RUNNABLE:  # a PE comes to its end and does nothing more
                return looked if is_task else None
            if action.verb not in (Verb.LOCAL, Verb.ACCESS) or action.writes:
                return looked
            if action.accesses and not looked:
                looked = action.accesses[0].pa
            if place.point is None or not place.edges:  # a PE
                pass
            place = self._edge(shared, place, self.looked(shared, action)).place
        return looked

    # -- steps ------------------------------------------------------------------------------------

    def _edge(self, shared: Shared, place: Place, observation: object) -> Edge:
        found = place.edges.get(observation)
        if found is None:
            count = len(self.rig.places)
            found = self.rig.edge(place, observation, partial(self._lend, shared))
            self.locations.refresh(self.rig.places[count:])
        return found

    def _lend(self, shared: Shared, place: Place) -> dict[int, bytes]:
        # Memory as the actor finds it, by cells.
        lent = {number << 3: value.to_bytes(8, "little") for number, value in self.memory.items()}
        cacheable = all(access.cacheable for access in place.action.accesses)
        for first, line in zip(self.locations.lines, shared.lines, strict=True):
            data = line.view(cacheable)
            for at in range(0, self._granule, _CELL):
                lent[first + at] = data[at : at + _CELL]
        return lent

    def step(self, shared: Shared, cpu: int) -> Stepped:
        """Let an actor that can do its next operation."""
        place = shared.places[cpu]
        action = place.action
        verb = action.verb
        pick = Pick("run", cpu)
        if verb is Verb.LOCAL:
            edge = place.edges.get(None) or self._edge(shared, place, None)
            return self._moved(shared, cpu, edge), [], Taken(pick, ((cpu, edge),))
        if verb is Verb.ACCESS and not action.shared:
            seen = self.looked(shared, action)
            edge = place.edges.get(seen) or self._edge(shared, place, seen)
            undo: Undo = []
            if action.writes:
                shared = self._store(shared, cpu, action, undo)
            return self._moved(shared, cpu, edge), undo, Taken(pick, ((cpu, edge),))
        return self._other(shared, cpu, place, pick)

    @staticmethod
    def _moved(shared: Shared, cpu: int, edge: Edge) -> Shared:
        places = shared.places
        return shared._replace(places=(*places[:cpu], edge.place, *places[cpu + 1 :]))

    def _store(self, shared: Shared, cpu: int, action: Action, undo: Undo) -> Shared:
        # The stores of an action to memory that no followed line holds.
        memory, digest = self.memory, shared.memory
        for number, shift, mask, value, is_store in action.cells:
            if not is_store:
                continue
            old = self.cell(number)
            new = old & ~(mask << shift) | value << shift
            if new != old:
                undo.append((number, memory.get(number)))
                digest ^= hash((number, old)) ^ hash((number, new))
                memory[number] = new
        if digest != shared.memory:
            shared = shared._replace(memory=digest)
        return self._cleared(shared, cpu, action)

    def _cleared(self, shared: Shared, cpu: int, action: Action) -> Shared:
        # A store clears the monitors of others on its granule: an event for them.
        if not action.writes & self.locations.events:
            return shared
        granules = {access.pa & -GRANULE for access in action.accesses}
        hit = 0
        for place in shared.places:
            bit = 1 << place.cpu
            if place.cpu != cpu and place.armed in granules and not shared.lost & bit:
                hit |= bit
        if not hit:
            return shared
        return shared._replace(lost=shared.lost | hit, events=shared.events | hit)

    def undo(self, undo: Undo) -> None:
        """Put memory back to what it was before a step."""
        for number, old in reversed(undo):
            if old is None:
                del self.memory[number]
            else:
                self.memory[number] = old

    def _other(self, shared: Shared, cpu: int, place: Place, pick: Pick) -> Stepped:
        action, bit = place.action, 1 << cpu
        if action.verb is Verb.CALL:
            return self._call(shared, cpu, place, pick)
        seen = self._seen(shared, place)
        edge = self._edge(shared, place, seen)  # with memory as it is before
        undo: Undo = []
        notes: list[Note] = []
        match action.verb:
            case Verb.ACCESS | Verb.UNTIL | Verb.POLL:
                shared = self._touch(shared, cpu, action, undo, notes)
            case Verb.UPDATE:
                expected, _new = action.detail
                shared = self._touch(shared, cpu, action, undo, notes, expected is None or seen == expected)
            case Verb.WFE:
                shared = shared._replace(events=shared.events & ~bit)
            case Verb.SEVL:
                shared = shared._replace(events=shared.events | bit)
            case Verb.SEV:
                on = sum(1 << other.cpu for other in shared.places if not other.is_off)
                shared = shared._replace(events=shared.events | on)
            case Verb.WFI:
                shared = shared._replace(interrupts=shared.interrupts & ~bit)
            case Verb.MAINTAIN:
                (word,) = action.detail
                assert isinstance(word, int)
                shared = self._change(
                    shared, action.accesses[0].pa, lambda line: caches.maintain(line, word), notes
                )
            case Verb.LOAD_EXCLUSIVE:
                shared = self._touch(shared, cpu, action, undo, notes)._replace(lost=shared.lost & ~bit)
            case Verb.STORE_EXCLUSIVE if seen:
                shared = self._touch(shared, cpu, action, undo, notes)
        edges = [(cpu, edge)]
        shared = self._moved(shared, cpu, edge)
        if action.verb is Verb.SEND:
            (target,) = action.detail
            assert isinstance(target, int)
            shared = self._interrupt(shared, target, edges)
        return self._woken(shared, edges), undo, Taken(pick, tuple(edges), tuple(notes))

    def _seen(self, shared: Shared, place: Place) -> object:
        # What the actor observes when it does its operation now.
        action, bit = place.action, 1 << place.cpu
        match action.verb:
            case Verb.ACCESS | Verb.UNTIL | Verb.POLL | Verb.LOAD_EXCLUSIVE:
                return self.looked(shared, action)
            case Verb.UPDATE:
                return self._old(shared, action)
            case Verb.WFE:
                return bool(shared.events & bit)
            case Verb.WFI:
                return bool(shared.interrupts & bit)
            case Verb.STORE_EXCLUSIVE:
                return place.armed == action.accesses[0].pa & -GRANULE and not shared.lost & bit
        return None

    def _woken(self, shared: Shared, edges: list[tuple[int, Edge]]) -> Shared:
        # Whoever sleeps in WFE with an event wakes and consumes it.
        for place in shared.places:
            bit = 1 << place.cpu
            if place.state is State.WAITING and shared.events & bit:
                edge = self._edge(shared, place, WAKE)
                edges.append((place.cpu, edge))
                shared = self._moved(shared, place.cpu, edge)._replace(events=shared.events & ~bit)
        return shared

    def _interrupt(self, shared: Shared, target: int, edges: list[tuple[int, Edge]]) -> Shared:
        place = shared.places[target]
        if place.is_off:
            return shared
        if place.state is State.IDLE:
            edge = self._edge(shared, place, WAKE)
            edges.append((target, edge))
            return self._moved(shared, target, edge)
        return shared._replace(interrupts=shared.interrupts | 1 << target)

    def _old(self, shared: Shared, action: Action) -> int:
        if action.shared:
            value: int = self._looked_in_lines(shared, action)
            return value
        ((number, shift, mask, _, _),) = action.cells
        return self.cell(number) >> shift & mask

    def _touch(
        self,
        shared: Shared,
        cpu: int,
        action: Action,
        undo: Undo,
        notes: list[Note],
        stores: bool = True,
    ) -> Shared:
        # The accesses of an action, through the lines where they are followed.
        if not action.shared:
            return self._store(shared, cpu, action, undo) if stores and action.writes else shared
        lines = list(shared.lines)
        for access in action.accesses:
            first = access.pa & -self._granule
            index = self.locations.line_index.get(first)
            if index is None:
                if access.is_store and stores:
                    shared = self._store_one(shared, access.pa, access.size, access.value, undo)
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
        shared = shared._replace(lines=tuple(lines))
        return self._cleared(shared, cpu, action) if stores else shared

    def _store_one(self, shared: Shared, pa: int, size: int, value: int, undo: Undo) -> Shared:
        mask, shift, number = (1 << 8 * size) - 1, 8 * (pa % _CELL), pa >> 3
        old = self.cell(number)
        new = old & ~(mask << shift) | (value & mask) << shift
        undo.append((number, self.memory.get(number)))
        self.memory[number] = new
        return shared._replace(memory=shared.memory ^ hash((number, old)) ^ hash((number, new)))

    def _change(self, shared: Shared, pa: int, change: Any, notes: list[Note]) -> Shared:
        # Something happens to a whole line.
        first = pa & -self._granule
        index = self.locations.line_index.get(first)
        if index is None:
            return shared
        line = shared.lines[index]
        new, lost = change(line)
        note_lost(lambda *note: notes.append(Note(*note)), first, line, new, lost)
        return shared._replace(lines=(*shared.lines[:index], new, *shared.lines[index + 1 :]))

    # -- what nobody asks for ---------------------------------------------------------------------

    def time_out(self, shared: Shared, cpu: int) -> Stepped:
        """Let the poll of an actor give up."""
        place = shared.places[cpu]
        notes: list[Note] = []
        undo: Undo = []
        edge = self._edge(shared, place, None)
        shared = self._touch(shared, cpu, place.action, undo, notes)
        taken = Taken(Pick("timeout", cpu), ((cpu, edge),), tuple(notes))
        return self._moved(shared, cpu, edge), undo, taken

    def wake(self, shared: Shared, cpu: int) -> Stepped:
        """End the WFE of an actor without an event."""
        edge = self._edge(shared, shared.places[cpu], WAKE)
        return self._moved(shared, cpu, edge), [], Taken(Pick("wake", cpu), ((cpu, edge),))

    def line_choices(self, shared: Shared, index: int) -> tuple[Choice, ...]:
        """Return what the caches may do to a followed line."""
        return caches.choices(shared.lines[index])

    def line_choice(self, shared: Shared, index: int, choice: Choice) -> Stepped:
        """Let the caches do it."""
        pa = self.locations.lines[index]
        notes: list[Note] = []
        shared = self._change(shared, pa, lambda line: caches.choose(line, choice), notes)
        notes.append(Note(Kind.LINE, pa, list(Choice).index(choice), 0))
        return shared, [], Taken(Pick(choice.value, pa), (), tuple(notes))

    # -- firmware ---------------------------------------------------------------------------------

    def _call(self, shared: Shared, cpu: int, place: Place, pick: Pick) -> Stepped:
        assert self._answers is not None, "a call without firmware"
        off = tuple(other.is_off for other in shared.places)
        answer, effects, remembered, delayed = self._answers.call(
            shared.firmware, off, cpu, place.action.detail
        )
        edge = self._edge(shared, place, (answer, effects))
        shared = self._moved(shared, cpu, edge)._replace(firmware=remembered)
        if delayed:
            shared = shared._replace(later=(*shared.later, *delayed))
        for effect in effects:
            shared = self._power(shared, effect)
        return shared, [], Taken(pick, ((cpu, edge),))

    def _power(self, shared: Shared, effect: Effect) -> Shared:
        what, cpu, *detail = effect
        if what == "off":
            return shared
        entry_pa, x0, el = detail
        old = shared.places[cpu]
        place = self.rig.switched_on(cpu, entry_pa, x0, el, old.landings)
        if self.rig.grew:
            self.locations.refresh([place])
        bit = 1 << cpu
        events = shared.events | bit if self._event_at_reset else shared.events & ~bit
        places = (*shared.places[:cpu], place, *shared.places[cpu + 1 :])
        return shared._replace(places=places, events=events, lost=shared.lost & ~bit)

    def start(self, shared: Shared, index: int) -> Stepped:
        """Let a start take effect that firmware has delayed."""
        assert self._answers is not None
        cpu, arguments = shared.later[index]
        off = tuple(other.is_off for other in shared.places)
        effects, remembered = self._answers.start(shared.firmware, off, arguments)
        later = shared.later[:index] + shared.later[index + 1 :]
        shared = shared._replace(later=later, firmware=remembered)
        notes = []
        for effect in effects:
            shared = self._power(shared, effect)
            _, target, entry_pa, x0, _ = effect
            notes.append(Note(Kind.POWER_ON, entry_pa, x0, target))
        return shared, [], Taken(Pick("start", cpu), (), tuple(notes))
