"""What a run does in which the table changes: the map at its start, the writes, and who is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.fuzz.questions import random_map
from emu.lookup.tear import Tear

FIELDS = (0, 8, 16, 32)  # of a hwid, Aff0 first
_WRITES_MAX = 6
_LOW = 0xFFFF_FFFF
_TORN = 0.3  # share of the runs that look for a torn entry: one half old, the other new
_BEFORE = 0x12_0034_5678  # what a torn entry holds, and then: each bit is another one
_AFTER = _BEFORE ^ MPIDR_HWID_BITMASK


@dataclass(frozen=True, slots=True)
class RacePlan:
    """One run: the map at its start, the writes (entry, new hwid), and the MPIDR that is looked up."""

    logical_map: tuple[int | None, ...]
    writes: tuple[tuple[int, int | None], ...]
    mpidr: int

    @property
    def states(self) -> list[tuple[int | None, ...]]:
        """The map at its start and after each write."""
        found = [self.logical_map]
        for cpu, hwid in self.writes:
            changed = list(found[-1])
            changed[cpu] = hwid
            found.append(tuple(changed))
        return found


def plan_of(nr_cpus: int, race: int | Tear, element: int) -> RacePlan:
    """Return what a run does: the one of a seed, or that of a tear.

    :param element: bytes of an entry
    """
    return tear_plan(nr_cpus, race, element) if isinstance(race, Tear) else make_plan(nr_cpus, race)


def fields_of(element: int) -> tuple[int, ...]:
    """Return the lowest bit of each field of a hwid that an entry of ``element`` bytes holds."""
    return tuple(low for low in FIELDS if low < 8 * element)


def tear_plan(nr_cpus: int, tear: Tear, element: int) -> RacePlan:
    """Return the plan of a tear: one entry gets another hwid, and some fields of each are looked up."""
    fields = fields_of(element)
    room = sum(0xFF << low for low in fields)
    old = sum(0xFF << low for number, low in enumerate(fields) if tear.old >> number & 1)
    holes: tuple[None, ...] = (None,) * nr_cpus
    start = (*holes[: tear.cpu], _BEFORE & room, *holes[tear.cpu + 1 :])
    asks = (_BEFORE & old | _AFTER & ~old) & room
    return RacePlan(start, ((tear.cpu, _AFTER & room),), asks | RES1)


def make_plan(nr_cpus: int, seed: int) -> RacePlan:
    """Return the plan of ``seed``: a map, up to six writes, and the MPIDR that is looked up."""
    rng = Random(seed)
    start = random_map(rng, nr_cpus)
    if rng.random() < _TORN:
        return _torn_plan(rng, start)
    state, writes = list(start), []
    spare = [hwid for hwid in random_map(rng, nr_cpus) if hwid is not None]
    for _ in range(rng.randint(1, _WRITES_MAX)):
        cpu = rng.randrange(nr_cpus)
        held = set(state)
        free = [hwid for hwid in spare if hwid not in held]
        hwid = rng.choice(free) if free and (state[cpu] is None or rng.random() < 0.4) else None
        if hwid is None and state[cpu] is None:
            continue
        state[cpu] = hwid
        writes.append((cpu, hwid))
    return RacePlan(start, tuple(writes), _who_asks(rng, start, writes) | RES1)


def _torn_plan(rng: Random, logical_map: tuple[int | None, ...]) -> RacePlan:
    # One entry gets another hwid, and may get the first one back; the MPIDR looked up has half of each.
    cpu = rng.randrange(len(logical_map))
    before, after = (rng.getrandbits(40) & MPIDR_HWID_BITMASK for _ in range(2))
    start = tuple(None if hwid in (before, after) else hwid for hwid in logical_map)
    start = (*start[:cpu], before, *start[cpu + 1 :])
    writes = [(cpu, after), (cpu, before)][: rng.randint(1, 2)] if before != after else []
    asks = before & _LOW | after & ~_LOW if rng.random() < 0.5 else before & ~_LOW | after & _LOW
    return RacePlan(start, tuple(writes), asks | RES1)


def _who_asks(rng: Random, start: Sequence[int | None], writes: Sequence[tuple[int, int | None]]) -> int:
    # An MPIDR of the table at its start, or of a written entry.
    here = [hwid for hwid in start if hwid is not None] or [0]
    written = [hwid for _cpu, hwid in writes if hwid is not None]
    kind = rng.random()
    if written and kind < 0.4:
        return rng.choice(written)
    touched = [start[cpu] for cpu, _hwid in writes]
    mine = [hwid for hwid in touched if hwid is not None]
    return rng.choice(mine if mine and kind < 0.8 else here)
