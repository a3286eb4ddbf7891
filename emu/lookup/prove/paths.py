"""Every path of a look-up, from its entry to an exit, with symbols for all that is open.

Before a path goes on, the solver is asked whether what an instruction must keep to can be broken, and at
its end whether a promise can. What it answers with is a proposal: the emulator judges it. Paths that come
together with the same numbers in the same registers go on as one, or a loop with two ways round would have
2^N of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import z3

from emu.lookup.prove import bits
from emu.lookup.prove.asking import Counts
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.flags import chosen
from emu.lookup.prove.situation import Situation
from emu.lookup.prove.solver import Solver
from emu.lookup.prove.state import Goes, State
from emu.lookup.prove.walk import Proposal, Walk
from emu.lookup.target import Target


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that was gone through by induction.

    :ivar va: of its first instruction
    :ivar rounds_max: rounds, at most
    :ivar facts: what holds before each round, in words
    """

    va: int
    rounds_max: int
    facts: tuple[str, ...]


@dataclass(slots=True)
class Path:
    """A path under way.

    :ivar conditions: what holds on it, beside what always does
    :ivar back: how often it has gone backwards: paths that may still come together have the same
    :ivar model: symbols for which it is taken
    """

    state: State
    conditions: tuple[z3.BoolRef, ...]
    back: int
    model: z3.ModelRef

    @property
    def place(self) -> tuple[int, int]:
        """What paths are taken in order of: those behind wait for those before."""
        return self.back, self.state.pc

    def goes(self, pc: int, condition: Truth, model: z3.ModelRef) -> Path:
        """Return the path that goes on at ``pc`` where the condition holds."""
        away = self.state.copy()
        away.pc = pc
        conditions = self.conditions if condition is True else (*self.conditions, bits.boolean(condition))
        return Path(away, conditions, self.back + (pc <= self.state.pc), model)


class Paths:
    """The paths of one target.

    :ivar loops: that were gone through by induction: none
    """

    loops: tuple[Loop, ...] = ()

    def __init__(self, target: Target, situation: Situation, *, quick: bool = False) -> None:
        """Begin at the entry; ``quick`` is that of :class:`emu.lookup.prove.solver.Solver`."""
        self._walk = Walk(target, situation, Solver(quick=quick))
        self._waiting: dict[tuple[int, int], list[Path]] = {}
        self._places: list[tuple[int, int]] = []  # of those that wait, a heap

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._walk.counts

    def run(self) -> Iterator[Proposal | None]:
        """Go through all paths; yield proposals, and None now and then.

        :raises CannotProve: an instruction without semantics, or a bound
        """
        asking = self._walk.asking
        if not asking.can_be(True):
            return  # no map fits the tables
        self._wait(Path(self._walk.given.copy(), (), 0, asking.now))
        while self._places:
            place = heappop(self._places)
            for path in self._waiting.pop(place):
                asking.hold(path.conditions, path.model)
                yield from self._run(path)
            yield None

    def _wait(self, path: Path) -> None:
        others = self._waiting.setdefault(path.place, [])
        if not others:
            heappush(self._places, path.place)
        for number, other in enumerate(others):
            if (both := joined(other, path)) is not None:
                others[number] = both
                return
        others.append(path)

    def _run(self, path: Path) -> Iterator[Proposal]:
        # Up to its end, its next branch, or a place where another path waits.
        walk, state = self._walk, path.state
        begin = state.pc
        while True:
            if walk.is_exit(state.pc):
                yield from walk.ends(state)
                return
            if state.retired_max >= walk.target.instructions_limit:
                yield from walk.goes_on(f"no exit within {state.retired_max} instructions")
                return
            if state.pc != begin and path.place in self._waiting:
                self._wait(replace(path, conditions=walk.asking.held, model=walk.asking.now))
                return
            step = yield from walk.step(state)
            if step is False:
                return
            if words := walk.stays(step, state.pc):
                yield from walk.goes_on(words)
                return
            if isinstance(step, Goes):
                path = replace(path, conditions=walk.asking.held)
                for pc, condition in walk.ways(step, state.pc):
                    self._wait(path.goes(pc, condition, walk.asking.now))
                return
            state.pc += 4
            begin = -1


def joined(one: Path, other: Path) -> Path | None:
    """Return both paths as one, or None when numbers in their registers differ."""
    a, b = one.state, other.state
    if a.event != b.event or a.stored is None or b.stored is None or a.stored.keys() != b.stored.keys():
        return None
    values = [
        *zip(a.x, b.x, strict=True),
        *((a.stored[pa], b.stored[pa]) for pa in a.stored),
        (a.daif, b.daif),
    ]
    if any((_is_place(x, a) or _is_place(y, a)) and not bits.is_same(x, y) for x, y in values):
        return None
    same = 0
    for x, y in zip(one.conditions, other.conditions, strict=False):
        if not x.eq(y):
            break
        same += 1
    here = bits.every(*one.conditions[same:])
    rest = bits.some(here, bits.every(*other.conditions[same:]))
    state = a.copy()
    state.x = [_one_of(here, x, y, 64) for x, y in zip(a.x, b.x, strict=True)]
    state.stored = {pa: _one_of(here, value, b.stored[pa], 8) for pa, value in a.stored.items()}
    state.daif = _one_of(here, a.daif, b.daif, 64)
    state.flags = chosen(here, a.flags, b.flags)
    state.retired = bits.choose(here, a.retired, b.retired, 64)
    state.retired_max = max(a.retired_max, b.retired_max)
    conditions = one.conditions[:same] if rest is True else (*one.conditions[:same], bits.boolean(rest))
    return Path(state, conditions, one.back, one.model)


def _is_place(value: Value, state: State) -> bool:
    # A number, or one relative to SP at entry.
    sp = state.around.sp
    if isinstance(value, int) or sp is None:
        return isinstance(value, int)
    return any(each.eq(sp) for each in (value, *value.children()))


def _one_of(condition: Truth, a: Value, b: Value, width: int) -> Value:
    return a if bits.is_same(a, b) else bits.choose(condition, a, b, width)
