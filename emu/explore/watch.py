"""Properties in an exploration: which steps they see, and whether a global state breaks one.

A step that a property sees meets every other such step, so that their orders are all tried, and it is never
taken as one that nobody can observe. What a property sees of a state changes with these steps alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.explore.global_state import GlobalState
from emu.explore.local_state import LocalState
from emu.explore.registers import Registers
from emu.machine import Machine
from emu.machine.actor import State
from emu.operation import Kind
from emu.properties.evaluate import broken_at_end, broken_in, holds
from emu.properties.resolve import Resolved, all_labels

if TYPE_CHECKING:
    from emu.explore.finding_collector import Mark
    from emu.explore.transition_system import TransitionSystem

_STATE_KINDS = ("never", "at", "unreachable")


class Watch:
    """The properties of one exploration; ``machine`` is the one that its steps run on."""

    def __init__(self, machine: Machine, properties: Sequence[Resolved]) -> None:
        self.properties = properties
        self._machine = machine
        self.registers = Registers(machine)
        seen = [each for each in properties if each.property.kind != "finally"]
        self._labels = {pc for each in seen for pc in each.labels}
        self._all_registers = {cpu for each in seen for cpu in each.registers}
        self._words = [range(pa, pa + size) for each in seen for pa, size in each.words]
        self._in_states = [each for each in properties if each.property.kind in _STATE_KINDS]
        self._eventual = [each for each in properties if each.property.kind == "eventually"]
        for pc in all_labels(properties):
            machine.landings.look_at(pc)

    # -- what is seen -----------------------------------------------------------------------------

    def words(self) -> Sequence[range]:
        """Return the PAs of all words that a property looks at, at ends too."""
        return [range(pa, pa + size) for each in self.properties for pa, size in each.words]

    def sees(self, local: LocalState) -> bool:
        """Tell whether the actor's next step can change what a property sees, as far as is known."""
        if local.cpu in self._all_registers or (self._is_at_label(local) and not self._stays(local)):
            return True
        after = [edge.local for edge in local.edges.values()]
        if any(self._is_at_label(target) and pc_of(target) != pc_of(local) for target in after):
            return True
        stores = [access for access in local.action.accesses if access.is_store]
        return any(
            access.pa < word.stop and word.start < access.pa + access.size
            for access in stores
            for word in self._words
        )

    @staticmethod
    def _stays(local: LocalState) -> bool:
        # Whether a host task goes on where its CPU has landed; registers still have their values of then.
        after = [edge.local for edge in local.edges.values()]
        is_task = local.history is not None and bool(after)
        return is_task and all(each.history is not None and pc_of(each) == pc_of(local) for each in after)

    def _is_at_label(self, local: LocalState) -> bool:
        return bool(self._labels) and pc_of(local) in self._labels

    def of_text(self, text: str) -> Resolved:
        """Return the property with this text, which there is."""
        return next(each for each in self.properties if each.property.text == text)

    # -- states -----------------------------------------------------------------------------------

    def note(self, system: TransitionSystem, state: GlobalState) -> GlobalState:
        """Return the state with a bit for each ``eventually`` that has been true on the way to it."""
        seen = state.seen
        for number, each in enumerate(self._eventual):
            assert each.condition is not None
            if not seen >> number & 1 and holds(each.condition, _View(self, system, state)):
                seen |= 1 << number
        return state if seen == state.seen else state._replace(seen=seen)

    def broken(self, system: TransitionSystem, state: GlobalState) -> list[Mark]:
        """Return a mark for each property that the state breaks."""
        if not self._in_states:
            return []
        view = _View(self, system, state)
        count = len(state.locals)
        found = [(each, cpu) for each in self._in_states for cpu in broken_in(each, view, count)]
        return [self._mark(each, cpu, view.pc(cpu)) for each, cpu in found]

    def broken_at_end(self, system: TransitionSystem, state: GlobalState) -> list[Mark]:
        """Return a mark for each property that an end breaks, or a state that is come back to for ever."""
        view = _View(self, system, state)
        found = [each for each in self.properties if broken_at_end(each, view, self._seen(each, state))]
        return [self._mark(each, 0, 0) for each in found]

    def never_seen(self, state: GlobalState) -> list[Mark]:
        """Return a mark for each ``eventually`` that has not been true, where all go round for ever."""
        return [self._mark(each, 0, 0) for each in self._eventual if not self._seen(each, state)]

    def _seen(self, property_: Resolved, state: GlobalState) -> bool:
        return property_ in self._eventual and bool(state.seen >> self._eventual.index(property_) & 1)

    def _mark(self, property_: Resolved, cpu: int, pc: int) -> Mark:
        place = pc if property_.places else 0
        return (Kind.PROPERTY, cpu, 0, place, 0, self._machine.trace.string(property_.property.text))


class _View:
    # A global state as an expression looks at it (:class:`emu.properties.evaluate.View`).

    def __init__(self, watch: Watch, system: TransitionSystem, state: GlobalState) -> None:
        self._watch, self._system, self._state = watch, system, state

    def word(self, pa: int, size: int) -> int:
        return word_of(self._system, self._state, pa, size)

    def register(self, cpu: int, number: int) -> int:
        return self._watch.registers.of(self._state.locals[cpu])[number]

    def pc(self, cpu: int) -> int:
        return pc_of(self._state.locals[cpu])


def pc_of(local: LocalState) -> int:
    """Return the VA of an actor's next instruction, or where it landed; 0: it is off, or never ran any."""
    if local.state is State.OFF or (local.history is not None and not local.landings):
        return 0
    return local.at


def word_of(system: TransitionSystem, state: GlobalState, pa: int, size: int) -> int:
    """Return ``size`` bytes at ``pa``, unsigned, as a CPU with its caches on would load them."""
    value = 0
    granule = system.footprints.granule
    for at in range(size):
        index = system.footprints.index_of(pa + at)
        if index is None:
            byte = system.cells.value(pa + at >> 3) >> 8 * (pa + at & 7) & 0xFF
        else:
            byte = system.model.seen(state.model, 0, index, True)[(pa + at) % granule]
        value |= byte << 8 * at
    return value
