"""The rig: one machine that runs single steps of single actors, wherever an exploration wants them to stand.

A step is run once for each place and observation. Memory is lent to it: the bytes that the world has are put
in, and what was there before is put back, so that the machine's memory stays as it was at the start.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from emu.actor import Grain, HostTask, State
from emu.explore.describe import describe
from emu.explore.place import Action, Edge, Place, Point, Verb
from emu.explore.tasks import Tasks
from emu.machine import Machine, Standing
from emu.operation import Kind, Operation

WAKE = "wake"  # the observation of an actor that is woken
# What firmware does in a call: ("on", CPU, PA of the entry, x0, EL) or ("off", CPU).
Effect = tuple[Any, ...]
_HOLDS = (Kind.DEFERRED, Kind.FLUSHED)
_NOWHERE = Standing(State.OFF, None, None, None, "", 0)


class _Script:
    # Firmware that answers what it is told to.

    def __init__(self, conduit: str) -> None:
        self.conduit = conduit
        self.answer: int | None = 0
        self.effects: tuple[Effect, ...] = ()

    def call(self, machine: Machine, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        for what, target, *detail in self.effects:
            if what == "on":
                machine.trace.add(Kind.POWER_ON, target, 0, detail[0], 0, detail[1])
            else:
                machine.power_off(target)
        return self.answer


class Rig:
    """Runs steps on ``machine``, whose actors stand where the exploration begins.

    :param tasks: makes the host task that a CPU begins with, anew
    :param cached: memory attributes matter
    """

    def __init__(
        self, machine: Machine, tasks: Mapping[int, Callable[[], HostTask]], *, cached: bool = False
    ) -> None:
        self.machine = machine
        self.cached = cached
        self.steps = 0  # run on the machine
        self.grew = False  # something new was seen since this was cleared
        self.places: list[Place] = []
        self._first_tasks = tasks
        self._tasks = Tasks(self._new_task)
        self._known: dict[tuple[object, ...], Place] = {}
        self._roots: dict[tuple[object, ...], Point] = {}
        self._on: dict[tuple[int, int, int, int, int], Place] = {}
        machine.grain = Grain.OPERATION
        machine.recording = True
        machine.observe()
        self.prefix = machine.trace.take()
        self._script = _Script(machine.firmware_conduit)
        if machine.firmware is not None:
            machine.firmware = self._script
        self.start = tuple(self._begin(cpu) for cpu in range(len(machine.actors)))

    def _begin(self, cpu: int) -> Place:
        actor = self.machine.actors[cpu]
        point = None
        if actor.task is not None:
            point = self._root(("task", cpu))
            self._tasks.keep(point, actor.task, actor.pending)
        place = self._place(cpu, point, None)
        self.machine.set_standing(cpu, _NOWHERE)
        return place

    def _root(self, key: tuple[object, ...]) -> Point:
        return self._roots.setdefault(key, Point(key))

    def _new_task(self, root: tuple[object, ...]) -> HostTask:
        if root[0] == "task":
            return self._first_tasks[root[1]]()  # type: ignore[index]
        _, cpu, va, context = root
        assert isinstance(cpu, int)
        assert isinstance(va, int)
        assert isinstance(context, bytes)
        self.machine.engine.set_state(self.machine.actors[cpu].pe, context)
        return self.machine.landing(va)(cpu)

    # -- places -----------------------------------------------------------------------------------

    def _place(self, cpu: int, point: Point | None, suspended: Point | None) -> Place:
        # Where `cpu` stands on the machine now.
        machine = self.machine
        actor, standing = machine.actors[cpu], machine.standing(cpu)
        context = machine.engine.state_of(actor.pe)
        armed = machine.engine.armed_monitors.get(actor.pe)
        state = State.RUNNABLE if standing.state in (State.SPINNING, State.DELAYED) else standing.state
        digest = blake2b(context, digest_size=16).digest()
        key = (cpu, state, digest, point, suspended, armed, standing.landings, standing.outcome)
        place = self._known.get(key)
        if place is not None:
            place.is_target = True
            return place
        outcome, at = machine.ending(cpu)
        runs = state is State.RUNNABLE
        action = describe(machine, cpu, cached=self.cached) if runs else Action(Verb.LOCAL)
        place = self._known[key] = Place(
            len(self.places),
            cpu,
            state,
            zlib.compress(context, 1),
            point,
            suspended,
            armed,
            standing.landings,
            standing.outcome,
            outcome,
            at,
            action,
        )
        self.places.append(place)
        return place

    def switched_on(self, cpu: int, entry_pa: int, x0: int, el: int, landings: int) -> Place:
        """Return where a CPU stands that firmware has just switched on at ``entry_pa``."""
        key = (cpu, entry_pa, x0, el, landings)
        place = self._on.get(key)
        if place is None:
            self.grew = True
            pe = self.machine.actors[cpu].pe
            self.machine.engine.reset(pe, el, entry_pa, x0)
            self.machine.set_standing(cpu, Standing(State.RUNNABLE, None, None, None, "", landings))
            place = self._on[key] = self._place(cpu, None, None)
            self.machine.set_standing(cpu, _NOWHERE)
            self.machine.trace.take()
        return place

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""
        return len(self.start)

    def starts(self, cpu: int) -> Iterator[Place]:
        """Yield the places at which firmware has switched ``cpu`` on."""
        return (place for key, place in self._on.items() if key[0] == cpu)

    # -- steps ------------------------------------------------------------------------------------

    def edge(self, place: Place, observation: object, lend: Callable[[Place], dict[int, bytes]]) -> Edge:
        """Return what the observation leads to from ``place``, from the machine the first time.

        :param lend: gives the world's memory, 8 bytes by PA, where it differs from the start
        """
        found = place.edges.get(observation)
        if found is None:
            self.grew = True
            with self._lent(place, lend(place)):
                found = place.edges[observation] = self._run(place, observation)
        return found

    @contextmanager
    def _lent(self, place: Place, lent: dict[int, bytes]) -> Iterator[None]:
        memory, engine = self.machine.memory, self.machine.engine
        for access in place.action.accesses:
            for pa in range(access.pa & -8, access.pa + access.size, 8):
                if pa not in lent:
                    lent[pa] = memory.read_bytes(pa, 8)
        before = {pa: memory.read_bytes(pa, len(data)) for pa, data in lent.items()}
        is_code = any(engine.is_code(pa, 8) for pa, data in lent.items() if data != before[pa])
        for pa, data in lent.items():
            memory.write_bytes(pa, data)
        if is_code:
            engine.forget_code()
        try:
            yield
        finally:
            is_code = is_code or any(engine.is_code(pa, 8) for pa in lent)
            for pa, data in before.items():
                memory.write_bytes(pa, data)
            if is_code:
                engine.forget_code()

    def _run(self, place: Place, observation: object) -> Edge:
        machine, cpu = self.machine, place.cpu
        self.steps += 1
        before = self._put(place, observation)
        machine.trace.take()
        machine.held.clear()
        if observation == WAKE:
            machine.wake(cpu)
        else:
            machine.step(cpu)
        after = machine.standing(cpu)
        given = True if observation == WAKE else observation
        if place.action.verb is Verb.CALL:
            assert isinstance(observation, tuple)
            given = observation[0]
        point, suspended = self._points(place, before, after, given)
        if machine.actors[cpu].restarted and point is not None:
            point = self._root(point.root)
        if point is not None:
            assert after.task is not None
            self._tasks.keep(point, after.task, after.pending)
        target, records = self._place(cpu, point, suspended), machine.trace.take()
        holds = any(row[0] in _HOLDS for row in machine.trace.rows_of(records))
        edge = Edge(target, records, holds)
        machine.set_standing(cpu, _NOWHERE)  # what others do must not reach it here
        return edge

    def _points(
        self, place: Place, before: Standing, after: Standing, given: object
    ) -> tuple[Point | None, Point | None]:
        # Where the host tasks of the actor stand after a step.
        pe = self.machine.actors[place.cpu].pe
        if after.task is None:
            if after.suspended is None:
                return None, None
            return None, place.point if before.task is after.suspended else place.suspended
        if after.task is before.task:
            assert place.point is not None
            moved = after.pending is not None and after.pending is not before.pending
            return self._next(place.point, given) if moved else place.point, None
        if after.task is before.suspended:
            assert place.suspended is not None
            return self._next(place.suspended, pe.x[0]), None
        context = self.machine.engine.state_of(pe)
        return self._root(("land", place.cpu, pe.pc, context)), None

    def _next(self, point: Point, given: object) -> Point:
        child = point.children.get(given)
        if child is None:
            child = point.children[given] = Point(point.root, point, given)
        return child

    def _put(self, place: Place, observation: object) -> Standing:
        # Let the place's actor stand there, about to observe.
        machine, cpu, verb = self.machine, place.cpu, place.action.verb
        actor = machine.actors[cpu]
        pe, engine = actor.pe, machine.engine
        task, pending = self._task(place.point)
        suspended, _ = self._task(place.suspended)
        engine.disarm(pe)
        engine.set_state(pe, zlib.decompress(place.context))
        if place.armed is not None:
            engine.armed_monitors[pe] = pe.monitor = place.armed
        if verb is Verb.STORE_EXCLUSIVE and observation is False:
            engine.disarm(pe)
        pe.reached = -1
        pe.event = verb is Verb.WFE and observation is True
        actor.interrupt = verb is Verb.WFI and observation is True
        standing = Standing(place.state, task, suspended, pending, place.said, place.landings)
        machine.set_standing(cpu, standing)
        if verb is Verb.POLL and observation is None:
            actor.waited = 1 << 62
        if verb is Verb.CALL:
            assert isinstance(observation, tuple)
            self._script.answer, self._script.effects = observation
        return standing

    def _task(self, point: Point | None) -> tuple[HostTask | None, Operation | None]:
        return self._tasks.take(point) if point is not None else (None, None)
