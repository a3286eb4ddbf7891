"""The regression corpus: every shape of a machine and every boundary of a lookup, smallest first.

A situation is a logical map and the MPIDRs that ask; what is right, a model says. Maps hold distinct valid
hwids, and where two CPUs have one hwid, only others ask. A model that takes any table at its word
(``Model.literal``) is asked more: which of two entries it is, and whether an entry with flags of MPIDR_EL1
matches, although what is compared is masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from emu.arch.mpidr import AFF0, AFF1, AFF2, AFF3, MPIDR_HWID_BITMASK, MT, RES1, U, affinity
from emu.errors import InvalidCase
from emu.lookup.contract import Contract
from emu.topology import Topology
from emu.topology.presets import PRESETS

FLAGS = (0, RES1, MT, U, RES1 | MT, RES1 | U, MT | U, RES1 | MT | U)
ALL_ONES = 2**64 - 1
_FIELDS = {"aff0": AFF0, "aff1": AFF1, "aff2": AFF2, "aff3": AFF3}
_HWID_BITS = [bit for bit in range(64) if MPIDR_HWID_BITMASK >> bit & 1]
_OTHER_BITS = [bit for bit in range(64) if not MPIDR_HWID_BITMASK >> bit & 1]
_HWIDS = {
    "zero": 0,
    "aff0": 1,
    "aff1": affinity(0, 0, 1, 0),
    "aff2": affinity(0, 1, 0, 0),
    "aff3-only": affinity(1, 0, 0, 0),
    "every-field": affinity(4, 3, 2, 1),
    "ones": MPIDR_HWID_BITMASK,
}
_MIXED = affinity(0x81, 0x42, 0x24, 0x18)

LogicalMap = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """A logical map and who asks.

    :ivar name: the rule, the same in every version: ``one/zero/match``
    :ivar logical_map: hwid (u64) or None of each logical CPU; CPUs beyond it do not exist
    :ivar mpidrs: raw MPIDR_EL1 values (u64)
    :ivar literal: only a model that takes a table at its word has answers to it
    """

    name: str
    logical_map: LogicalMap
    mpidrs: tuple[int, ...]
    literal: bool = False


def sweep(contract: Contract) -> list[dict[str, int]]:
    """Return the values of the defines that the corpus goes through, NR_CPUS ascending.

    First each NR_CPUS with the defaults of the others, then each value of the others with all other defaults.
    A define without a sweep keeps its default.
    """
    defaults = {name: define.default for name, define in contract.defines.items()}
    found = []
    for name in sorted(contract.defines, key=lambda name: name != "NR_CPUS"):
        define = contract.defines[name]
        found += [defaults | {name: value} for value in sorted({define.default, *define.sweep})]
    return [names for index, names in enumerate(found) if names not in found[:index]]


def situations(nr_cpus: int, *, unused: Sequence[int] = (), literal: bool = False) -> Iterator[Situation]:
    """Return the situations for tables of ``nr_cpus`` logical CPUs, those with few CPUs first.

    :param nr_cpus: 1..4096; situations with more CPUs are left out
    :param unused: values (u64) of unused entries in the tables: a CPU with that MPIDR asks too
    :param literal: also those that only a model which takes a table at its word can answer
    """
    for situation in _all(nr_cpus, unused, literal):
        if len(situation.logical_map) <= nr_cpus and situation.mpidrs:
            yield situation


def _all(nr_cpus: int, unused: Sequence[int], literal: bool) -> Iterator[Situation]:
    yield from _empty(unused)
    yield from _one()
    if literal:
        yield from _raw()
    yield from _pairs()
    yield from _duplicates(literal)
    yield from _holes(nr_cpus)
    yield from _full(nr_cpus)
    yield from _presets(nr_cpus)


def near(value: int) -> tuple[int, ...]:
    """Return hwids that are easily taken for the hwid ``value``: a bit or a field differs, fields swapped."""
    aff = [value >> low & 0xFF for _, low in _FIELDS.values()]
    found = [value ^ 1 << bit for bit in _HWID_BITS]
    for place, (_, low) in enumerate(_FIELDS.values()):
        others = value & ~(0xFF << low)
        found += [others | (aff[place] + step & 0xFF) << low for step in (1, -1)] + [others]
    for one, two in combinations(range(4), 2):
        swapped = aff.copy()
        swapped[one], swapped[two] = aff[two], aff[one]
        found.append(affinity(*reversed(swapped)))
    found.append(affinity(*aff))
    return tuple(hwid for hwid in dict.fromkeys(found) if hwid != value)


def _absent(logical_map: Iterable[int | None], candidates: Iterable[int]) -> tuple[int, ...]:
    # The candidates that belong to no CPU, each once; with each combination of flags in turn.
    present = {hwid for hwid in logical_map if hwid is not None}
    found = [hwid for hwid in dict.fromkeys(candidates) if hwid & MPIDR_HWID_BITMASK not in present]
    return tuple(hwid | FLAGS[place % 8] for place, hwid in enumerate(found))


def _empty(unused: Sequence[int]) -> Iterator[Situation]:
    yield Situation("empty/zero", (), FLAGS)
    for name, hwid in _HWIDS.items():
        if hwid:
            yield Situation(f"empty/{name}", (), (hwid, hwid | RES1))
    for value in unused:
        yield Situation(f"empty/unused/{value:#x}", (), (value, value & MPIDR_HWID_BITMASK))
    yield Situation("empty/all-ones", (), (ALL_ONES, ALL_ONES & ~RES1))


def _one() -> Iterator[Situation]:
    for name, hwid in _HWIDS.items():
        alone = (hwid,)
        yield Situation(f"one/{name}/match", alone, (hwid,))
        yield Situation(f"one/{name}/flags", alone, tuple(hwid | flags for flags in FLAGS))
        stray = [hwid | 1 << bit for bit in _OTHER_BITS]
        yield Situation(
            f"one/{name}/bits-outside-the-mask", alone, (*stray, hwid | ~MPIDR_HWID_BITMASK % 2**64)
        )
        yield Situation(f"one/{name}/absent", alone, _absent(alone, near(hwid)))
        yield Situation(f"one/{name}/absent-all-ones", alone, _absent(alone, (MPIDR_HWID_BITMASK,)))
        yield Situation(f"one/{name}/absent-zero", alone, _absent(alone, (0,)))


def _raw() -> Iterator[Situation]:
    # What is compared is masked, so an entry with a flag in it matches no CPU.
    for name, flags in {"res1": RES1, "mt": MT, "u": U, "every-flag": RES1 | MT | U}.items():
        for hwid in (0, _MIXED):
            asking = (hwid | flags, hwid)
            raw = f"raw/{name}/{hwid:#x}"
            yield Situation(f"{raw}/alone", (hwid | flags,), asking, literal=True)
            yield Situation(f"{raw}/before-the-masked", (hwid | flags, hwid), asking, literal=True)
            yield Situation(f"{raw}/behind-the-masked", (hwid, hwid | flags), asking, literal=True)


def _pairs() -> Iterator[Situation]:
    # Two CPUs that differ in as little as two can.
    for bit in _HWID_BITS:
        pair = (_MIXED, _MIXED ^ 1 << bit)
        yield Situation(f"one-bit/{bit}", pair, (pair[0], pair[1], pair[0] | RES1, pair[1] | RES1))
    for name, (_, low) in _FIELDS.items():
        pair = (_MIXED, _MIXED & ~(0xFF << low))
        yield Situation(f"one-field/{name}/lost", pair, pair)
        yield Situation(f"one-field/{name}/lost-first", pair[::-1], pair)
        only = (1 << low, 0xFF << low)
        yield Situation(f"one-field/{name}/only", only, (*only, *_absent(only, (0, 2 << low, 0xFE << low))))
    for one, two in combinations(_FIELDS, 2):
        low, high = _FIELDS[one][1], _FIELDS[two][1]
        pair = (1 << low | 2 << high, 2 << low | 1 << high)
        yield Situation(f"swapped/{one}-{two}", pair, (*pair, *_absent(pair, (1 << low, 2 << high))))


def _duplicates(literal: bool) -> Iterator[Situation]:
    # Which of the two is right is undefined, unless the model says: the first.
    for name, logical_map in {
        "alone": (1, 1),
        "zero": (0, 0),
        "first-and-last": (1, 2, 3, 1),
        "behind-a-hole": (None, 1, None, 1),
    }.items():
        twice = next(hwid for hwid in logical_map if hwid is not None)
        others = [hwid for hwid in logical_map if hwid not in (None, twice)]
        asking = (*(hwid for hwid in others if hwid is not None), *_absent(logical_map, (0, 1, 4, 0x100)))
        yield Situation(f"duplicate/{name}/others", logical_map, asking)
        if literal:
            asking = (twice, twice | RES1)
            yield Situation(f"duplicate/{name}/first-of-two", logical_map, asking, literal=True)


def _holes(nr_cpus: int) -> Iterator[Situation]:
    for name, hwid in _HWIDS.items():
        for place, at in {"second": 1, "last": nr_cpus - 1}.items():
            if at > 0 and (place == "last" or at < nr_cpus - 1):
                alone = (*[None] * at, hwid)
                asking = (hwid, hwid | RES1 | MT, *_absent(alone, (0, MPIDR_HWID_BITMASK, hwid ^ 1)))
                yield Situation(f"holes/all-but-the-{place}/{name}", alone, asking)
    flat = _flat(nr_cpus)
    quarter = nr_cpus // 4
    for name, kept in {
        "every-second": range(0, nr_cpus, 2),
        "every-other-second": range(1, nr_cpus, 2),
        "first": range(1, nr_cpus),
        "last": range(nr_cpus - 1),
        "first-half": range(nr_cpus // 2, nr_cpus),
        "middle": (*range(quarter), *range(nr_cpus - quarter, nr_cpus)),
    }.items():
        keep = set(kept)
        some = tuple(hwid if cpu in keep else None for cpu, hwid in enumerate(flat))
        if keep and nr_cpus > 1:
            yield _ask(f"holes/{name}", some, [flat[cpu] for cpu in _places(nr_cpus) if cpu not in keep][:16])


def _flat(nr_cpus: int) -> tuple[int, ...]:
    return tuple(affinity(0, 0, cpu >> 8, cpu & 0xFF) for cpu in range(nr_cpus))


def _full(nr_cpus: int) -> Iterator[Situation]:
    flat = _flat(nr_cpus)
    beyond = affinity(0, 0, nr_cpus >> 8, nr_cpus & 0xFF)
    yield Situation("full/first", flat, (flat[0], flat[0] | RES1))
    yield Situation("full/last", flat, (flat[-1], flat[-1] | RES1))
    yield Situation("full/absent/next", flat, (beyond, beyond | RES1))
    yield Situation("full/absent/aff3", flat, tuple(hwid | 1 << AFF3[1] for hwid in _ends(flat)))
    yield Situation("full/absent/ones", flat, (MPIDR_HWID_BITMASK, ALL_ONES))
    yield _ask("full/ascending", flat)
    yield _ask("full/descending", flat[::-1])
    shifted = (*flat[1:], 0)
    yield Situation("full/zero-is-last", shifted, (0, RES1, shifted[0]))
    no_zero = (*flat[1:], beyond)
    yield Situation("full/zero-is-absent", no_zero, (0, RES1, beyond))
    top = (*flat[:-1], MPIDR_HWID_BITMASK)
    yield Situation("full/ones-is-last", top, (MPIDR_HWID_BITMASK, ALL_ONES, *_ends(top)))
    for name, (_, low) in _FIELDS.items():
        if nr_cpus <= 256:
            only = tuple(cpu << low for cpu in range(nr_cpus))
            yield _ask(f"full/{name}-only", only)
    high = tuple(hwid | affinity(cpu & 0xFF, 0, 0, 0) for cpu, hwid in enumerate(flat))
    yield _ask("full/every-aff3", high)


def _ends(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((values[0], values[-1])))


def _places(count: int) -> list[int]:
    # Indices at which something may end: all of a small table, else both sides of powers of two.
    if count <= 33:
        return list(range(count))
    edges = [0, 1, 2, count // 2, count - 3, count - 2, count - 1]
    for power in range(3, 13):
        edges += [(1 << power) - 1, 1 << power, (1 << power) + 1]
    return sorted({index for index in edges if index < count})


def _ask(
    name: str, logical_map: LogicalMap, others: Sequence[int] = (), flags: Sequence[int] = FLAGS
) -> Situation:
    # Everybody at an edge asks; so do those of the others, and of the numbers near some, that nobody has.
    present = [hwid for hwid in logical_map if hwid is not None]
    asking = [present[index] | flags[index % len(flags)] for index in _places(len(present))]
    some = dict.fromkeys((*present[:1], *present[len(present) // 2 :][:1], *present[-1:]))
    candidates = [*others, *(hwid for one in some for hwid in near(one)[-13:]), 0, MPIDR_HWID_BITMASK]
    return Situation(name, logical_map, (*asking, *_absent(present, candidates)))


def _presets(nr_cpus: int) -> Iterator[Situation]:
    for name in PRESETS:
        shape = _shape(name, nr_cpus)
        if shape is not None:
            logical_map, flags = shape
            yield _ask(f"shape/{name}", logical_map, flags=(flags, flags ^ MT))


@cache
def _shape(name: str, nr_cpus: int) -> tuple[LogicalMap, int] | None:
    # Its map, and the flags in its MPIDR_EL1: of so many CPUs, or of its usual number where the shape ends
    # before. None: it needs more.
    for cpus in (nr_cpus, PRESETS[name].cpus):
        try:
            if cpus <= nr_cpus:
                topology = PRESETS[name].make(cpus)
                return _logical_map(topology)[:nr_cpus], topology.boot.mpidr & ~MPIDR_HWID_BITMASK
        except InvalidCase:
            continue
    return None


def _logical_map(topology: Topology) -> LogicalMap:
    # As smp_init_cpus() numbers a device tree: the boot CPU is 0, an entry that is refused leaves a hole.
    boot = topology.boot.hwid
    found: list[int | None] = [boot]
    seen, boot_listed = {boot}, False
    for cpu in topology.cpus:
        if cpu.hwid == boot and not boot_listed:
            boot_listed = True
            continue
        valid = cpu.hwid & ~MPIDR_HWID_BITMASK == 0 and cpu.hwid not in seen
        found.append(cpu.hwid if valid else None)
        seen.add(cpu.hwid)
    return tuple(found)
