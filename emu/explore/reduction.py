"""Partial-order reduction: which actors have to be tried in a state, so that every order that matters is.

A set of actors is enough when nothing that the others can do, now or later, before one of the set has moved,
meets what the set does next: a persistent set, found as a stubborn set is. What an actor can still do is what
is known of its local states (:mod:`emu.explore.footprints`); a search that has learned more begins again,
until it learns nothing. Source: Godefroid, "Partial-Order Methods for the Verification of Concurrent
Systems", LNCS 1032, 1996.

Beside CPUs, starts that firmware delays are actors, numbered behind. So are units that the memory model may
change by itself, unless their moves are put off (:mod:`emu.explore.unit_moves`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from emu.explore import variants
from emu.explore.global_state import GlobalState, Stepped
from emu.explore.standing import as_seen, can_go, stands, turns
from emu.explore.transition_system import TransitionSystem
from emu.explore.unit_moves import Step, UnitMoves, Way
from emu.machine.actor import State
from emu.operation import Delay, Poll
from emu.schedulers import Pick
from emu.semantics.state import members

Option = Callable[[], Stepped]
_TIMED = (Poll, Delay)  # what time can end


def _always(_state: GlobalState) -> bool:
    return True


@dataclass(slots=True)
class WhoCan:
    """What the CPUs of a state are, as bits.

    :ivar can: those that can step
    :ivar timed: of the others, those whose wait time can end
    :ivar targets: of the rest, those that run and stand where a loop may be
    :ivar asleep: those that wait for an event
    :ivar plain: those whose next operation is plain C code's
    """

    can: int = 0
    timed: int = 0
    targets: int = 0
    asleep: int = 0
    plain: int = 0

    def ask(self, state: GlobalState, can: Callable[[GlobalState, int], bool], cpus: Iterable[int]) -> None:
        """Ask the system about some CPUs, of which nothing is known."""
        for cpu in cpus:
            local, bit = state.locals[cpu], 1 << cpu
            if local.action.is_plain:
                self.plain |= bit
            if can(state, cpu):
                self.can |= bit
            elif local.state is State.RUNNABLE:
                if isinstance(local.action.operation, _TIMED):
                    self.timed |= bit
                elif local.is_target:
                    self.targets |= bit
            elif local.state is State.WAITING:
                self.asleep |= bit

    def forget(self, cpus: int) -> None:
        """Know nothing of some CPUs, as bits, any more."""
        self.can &= ~cpus
        self.timed &= ~cpus
        self.targets &= ~cpus
        self.asleep &= ~cpus
        self.plain &= ~cpus


class EnabledSet:
    """What can be done in one state: ``enabled`` has a bit for each actor that can move.

    :ivar turning: CPUs that go round in a loop that looks more than once, and may stand at any of its looks
    :ivar standing: CPUs that could look and sleep, and are taken for blocked
    :param unit_moves: moves of units are put off until an access needs them; None: units are actors
    :ivar plain: CPUs whose next operation is C code's that the compiler may tear, fuse or repeat
    :param stand: take loops that wait for an event for waits
    :param who: what is known of the CPUs of this state, without ``stand``; None: nothing yet
    """

    __slots__ = (
        "_can",
        "_mixed",
        "_state",
        "_system",
        "_unblocking",
        "_unit_moves",
        "_waits",
        "actors",
        "cpus",
        "enabled",
        "expired",
        "plain",
        "standing",
        "turning",
        "unblocked",
        "units",
        "wakes",
    )

    def __init__(
        self,
        system: TransitionSystem,
        state: GlobalState,
        early_max: int,
        spurious: bool,
        unit_moves: UnitMoves | None = None,
        stand: bool = False,
        *,
        who: WhoCan | None = None,
    ) -> None:
        self._system = system
        self._can = partial(can_go, system) if stand else system.can_step
        self._state = state
        self._waits: dict[int, int] = {}
        self._unit_moves = unit_moves
        # Two loads of these can meet: what a unit does before one of them, the other sees.
        self._mixed = unit_moves.unsettled(state.model) if unit_moves else 0
        self.cpus = len(state.locals)
        self.units = 0 if unit_moves else len(system.model.units)
        self.actors = self.cpus + self.units + len(state.later)
        self.expired = 0  # polls that may give up, delays that may end
        self.enabled = 0  # CPUs and delayed starts; not units
        self.wakes = 0  # CPUs whose WFE may end without an event
        self.standing = self.turning = 0
        early = state.early < early_max
        if who is None:
            who = WhoCan()
            who.ask(state, self._can, range(self.cpus))
        self.enabled, self.plain = who.can, who.plain
        if early and spurious:
            self.wakes = who.asleep
        if stand:
            for cpu in members(system.all_cpus & ~(who.can | who.timed | self.wakes)):
                self.standing |= stands(system, state, cpu) << cpu
        if early or not self.enabled:
            # Time passes when no actor can run; a poll that gives up before that is a choice.
            self.enabled |= who.timed
            self.expired = who.timed
        for index in range(len(state.later)):
            self.enabled |= 1 << self.cpus + self.units + index
        self.unblocked = 0  # CPUs that cannot step, and can once a unit has moved
        self._unblocking: dict[int, list[Way]] = {}  # how, by CPU
        if self._mixed:
            for cpu, local in enumerate(state.locals):
                if local.state is State.RUNNABLE and not self._can(state, cpu):
                    self._unblocking[cpu] = self._ways_after_moves(cpu)
                    self.unblocked |= bool(self._unblocking[cpu]) << cpu
        if self.standing and self.unblocked and self.enabled == self.expired:
            # Those who stand may sleep by then or not: they go on by themselves, and no time passes.
            self.enabled = self.standing | self.enabled & ~self.expired
            self.expired = self.standing = 0
        self.turning = self._find_turning(who.targets)

    def _find_turning(self, targets: int) -> int:
        # The place of a CPU that goes round matters as long as another CPU may change what it looks at.
        if not self.enabled | self.wakes | self.unblocked:
            return 0
        found = 0
        for cpu in members(targets & ~self.everybody):
            found |= turns(self._system, self._state, cpu) << cpu
        return found

    def options(self, actor: int) -> list[Option]:
        """Return the ways in which ``actor`` can move; the last one is that without a mishap."""
        steps = self._steps(actor)
        if self.has_parts(actor):
            steps.append(lambda state: self._system.step(state, actor))
        return [partial(step, self._state) for step in steps]

    def has_parts(self, actor: int) -> bool:
        """Tell whether ``actor`` can make parts of its next instruction alone, and that matters."""
        return actor < self.cpus and bool(self._parts_of(actor))

    def _parts_of(self, actor: int) -> list[int]:
        return self._system.footprints.parts(self._state.locals, actor, self._state.locals[actor].action)

    def _steps(self, actor: int) -> list[Step]:
        system, state = self._system, self._state
        if actor >= self.cpus + self.units:
            index = actor - self.cpus - self.units
            return [lambda state: system.start(state, index)]
        if actor >= self.cpus:
            index = actor - self.cpus
            return [
                lambda state, letter=letter: system.choose(state, index, letter)  # type: ignore[misc]
                for letter in system.choices(state, index)
            ]
        if self.expired >> actor & 1 and isinstance(state.locals[actor].action.operation, Poll):
            return [lambda state: system.time_out(state, actor)]
        if state.locals[actor].state is State.WAITING:
            return [lambda state: system.wake(state, actor)]
        if apart := self._parts_of(actor):
            return [partial(variants.make_part, system, cpu=actor, number=number) for number in apart]
        steps: list[Step] = [lambda state: system.step(state, actor)]
        if variants.may_delay(system, state, actor):
            steps.insert(0, lambda state: variants.delay(system, state, actor))
        elif variants.may_fail(system, state, actor):
            steps.insert(0, lambda state: variants.fail(system, state, actor))
        return steps

    def ways(self, actor: int) -> list[Way]:
        """Return the ways in which ``actor`` can move, with the moves of units that come before.

        The last one is that without a mishap.
        """
        moves = self._unit_moves
        if moves is None or actor >= self.cpus:
            return [Way((), step) for step in self._steps(actor)]
        found: list[Way] = []
        if (self.enabled | self.wakes | self.turning) >> actor & 1:
            state, units = self._state, self._touched(actor)
            can: Callable[[GlobalState], bool] = partial(self._can, cpu=actor)
            if self.expired >> actor & 1:
                can = self._is_blocked(actor)
            elif state.locals[actor].action.waits:
                found += moves.ways(state, units, None, self._is_blocked(actor))
            else:
                can = _always
            for step in self._steps(actor):
                found += moves.ways(state, units, step, can)
        return found + self._unblocking.get(actor, [])

    def _is_blocked(self, actor: int) -> Callable[[GlobalState], bool]:
        return lambda state: not self._system.can_step(state, actor)

    def _ways_after_moves(self, actor: int) -> list[Way]:
        # How an actor goes on that looks at a unit and waits for something else.
        units = self._units_in(self._waits_for(actor) & self._mixed)
        if not units:
            return []
        system, moves = self._system, self._unit_moves
        assert moves is not None
        can = partial(self._can, cpu=actor)
        return moves.ways(self._state, units, lambda state: system.step(state, actor), can)

    def _touched(self, actor: int) -> list[int]:
        # The units whose moves may make a difference to the actor's step.
        action = self._state.locals[actor].action
        if self.expired >> actor & 1:  # whatever is delayed takes effect
            return self._units_in(self._mixed)
        return self._units_in(action.reads & self._mixed | action.writes) if action.followed else []

    def _units_in(self, bits: int) -> list[int]:
        footprints = self._system.footprints
        return [unit for unit in range(len(self._system.model.units)) if bits & footprints.all_of_unit(unit)]

    @property
    def everybody(self) -> int:
        """The bits of all actors that can move, CPUs without need and units of memory among them."""
        return (
            self.enabled | self.wakes | self.unblocked | self.turning | ((1 << self.units) - 1) << self.cpus
        )

    def bits(self, actor: int) -> tuple[int, int, int]:
        """Return what the next move of ``actor`` reads and writes, and of that what all do not store alike.

        Each with all that overlaps it.
        """
        system, state, footprints = self._system, self._state, self._system.footprints
        if actor >= self.cpus + self.units:
            later = state.later[actor - self.cpus - self.units]
            if not state.locals[later.cpu].is_off:
                return -1, -1, -1  # it takes its target from wherever that is
            power = footprints.power(later.cpu)
            return 0, power, power
        if actor >= self.cpus:
            unit = footprints.over(footprints.all_of_unit(actor - self.cpus))
            if footprints.watches_units:
                unit |= footprints.properties
            return 0, unit, unit
        local = state.locals[actor]
        if local.state is State.WAITING:
            event = system.footprints.event(actor) | system.footprints.budget
            return 0, event, event
        action = local.action
        if variants.is_doomed(system, state, actor):
            return 0, 0, 0
        reads = action.reads_over
        if self.unblocked >> actor & 1:  # all that its loop looks at
            reads |= self._waits_for(actor)
        return reads, action.writes_over, action.clashes

    def commute(self, one: int, other: int) -> bool:
        """Tell whether the next moves of two actors have the same effect in either order.

        Memory has to be that of the state.
        """
        if not self._meets(self.bits(one), *self.bits(other)[:2]):
            return True
        if max(one, other) >= self.cpus or self.expired or self._state.later or self._system.model.units:
            return False
        after = self._after(one, other)
        return after is not None and after == self._after(other, one)

    def _after(self, first: int, second: int) -> GlobalState | None:
        # The state after the next steps of two CPUs; None: they are more than steps.
        system, undone, state = self._system, [], self._state
        for cpu in (first, second):
            action = state.locals[cpu].action
            if not self._can(state, cpu) or action.seen or action.is_plain or self.has_parts(cpu):
                break
            if variants.may_fail(system, state, cpu):
                break
            state, undo, _ = system.step(state, cpu)
            undone.append(undo)
        for undo in reversed(undone):
            system.undo(undo)
        return as_seen(system, state) if len(undone) > 1 else None

    def _meets(self, bits: tuple[int, int, int], reads: int, writes: int) -> bool:
        # Whether the order of a move with these bits and of one that reads and writes such matters.
        own_reads, own_writes, clashes = bits
        return bool(own_writes & reads or (own_reads | clashes) & writes or own_reads & reads & self._mixed)

    def _futures(self) -> list[tuple[int, int, bool]]:
        # Of each actor what it may read and write from here on, and whether it can move now.
        can = self.everybody
        found = [
            (local.reads, local.writes, bool(can >> cpu & 1)) for cpu, local in enumerate(self._state.locals)
        ]
        return found + [(*self.bits(actor)[:2], True) for actor in range(self.cpus, self.actors)]

    def _can_move(self, actor: int, without: int, futures: list[tuple[int, int, bool]]) -> bool:
        # Whether `actor` can move after others have that are not in the set.
        waits = self._waits_for(actor)
        for other, (_, writes, _) in enumerate(futures):
            if writes & waits and other != actor and not without >> other & 1:
                return True
        return False

    def _waits_for(self, actor: int) -> int:
        waits = self._waits.get(actor)
        if waits is None:
            if self.standing >> actor & 1:
                waits = self._state.locals[actor].action.reads_over
            else:
                waits = self._system.waits_for(self._state, actor)
            self._waits[actor] = waits
        return waits

    def persistent(self, first: int, sleep: int = 0) -> int:
        """Return the bits of a persistent set, with as few actors left to be tried as was found.

        :param first: the actor to begin with, so that who runs goes on
        :param sleep: bits of actors whose moves have been tried elsewhere
        """
        all_of = self.everybody
        if self.expired and self.expired == self.enabled:
            return all_of  # time passes only while no actor can run
        futures = self._futures()
        best, count = all_of, (all_of & ~sleep).bit_count()
        for seed in (first, *range(self.cpus)):
            if seed < 0 or not self.enabled >> seed & 1:
                continue
            found = self._closure(seed, futures, count, sleep) & all_of
            moving = (found & ~sleep).bit_count()
            if moving < count:
                best, count = found, moving
            if count == 0 or count == 1 and not sleep:
                break
        return best

    def _closure(self, seed: int, futures: list[tuple[int, int, bool]], enough: int, sleep: int) -> int:
        # The smallest stubborn set around `seed`; once `enough` of it can move it is no matter what it is.
        found, work, moving = 1 << seed, [seed], int(not sleep >> seed & 1)
        while work:
            actor = work.pop()
            can_move = futures[actor][2]
            bits = self.bits(actor) if can_move else (0, 0, 0)
            waits = 0 if can_move else self._waits_for(actor)
            for other, (later_reads, later_writes, can_too) in enumerate(futures):
                if found >> other & 1:
                    continue
                if can_move:
                    if not self._meets(bits, later_reads, later_writes):
                        continue
                    if not can_too and not self._can_move(other, found, futures):
                        continue
                elif not later_writes & waits:
                    continue
                found |= 1 << other
                work.append(other)
                moving += can_too and not sleep >> other & 1
                if moving >= enough:
                    return self.everybody
        return found

    def unexplored(self, sleep: int) -> list[int]:
        """Return the CPUs that can move and do not sleep, where not all is known of a future: what to try.

        That all others sleep, because their moves have been tried elsewhere, is enough to try nothing else
        only when it is known that what comes next meets nothing of these moves. What comes next may be of a
        CPU that cannot move yet.
        """
        awake = self.everybody & ~sleep
        is_open = any(local.is_open and not sleep >> cpu & 1 for cpu, local in enumerate(self._state.locals))
        return [cpu for cpu in range(self.cpus) if awake >> cpu & 1] if is_open else []

    def is_early(self, actor: int, pick: Pick) -> bool:
        """Tell whether a move of ``actor`` came without need: before time had to pass, without an event."""
        return pick.kind == "wake" or bool(self.expired >> actor & 1 and self.expired != self.enabled)

    def blocked_on_units(self) -> bool:
        """Tell whether a CPU is blocked that may go on once the memory model has changed a unit."""
        if not self.units:
            return False
        footprints = self._system.footprints
        units = 0
        for index in range(self.units):
            units |= footprints.over(footprints.unit(index))
        return any(not self.enabled >> cpu & 1 and self._waits_for(cpu) & units for cpu in range(self.cpus))
