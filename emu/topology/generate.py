"""Hypothesis strategies: hwids, MPIDRs, hwid tables and topologies, sound and broken.

They draw shapes (how many to each affinity field, strides, offsets, an order) and put a few stray numbers
in, so that examples look like machines. All shrink to the smallest table there is: 0, 1, 2 ... in order.

This is the one module of emu that needs Hypothesis; nothing else here imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from operator import or_
from random import Random

from emu.arch.boot import NR_CPUS_MAX
from emu.arch.mpidr import (
    AFF0,
    AFF1,
    AFF2,
    AFF3,
    INVALID_HWID,
    MPIDR_HWID_BITMASK,
    MT,
    RES1,
    U,
    affinity,
)
from emu.errors import InvalidCase
from emu.registry import not_one_of
from emu.topology import FIRMWARES, MIDR_CORTEX_A72, Cpu, Topology
from emu.topology.presets.big_little import MIDR_CORTEX_A53

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "emu.topology.generate needs Hypothesis: pip install 'arm64-boot-emu[test]'", name="hypothesis"
    ) from error

KINDS = (
    "duplicate",
    "reserved-bits",
    "boot-twice",
    "boot-missing",
    "disabled",
    "enable-method",
    "too-many",
)

_FIELDS = (AFF0, AFF1, AFF2, AFF3)
# One bit that is no part of a hwid, MPIDR_EL1 as a PE reads it, or everything that must be 0.
_STRAYS = (
    *(1 << bit for bit in range(64) if not MPIDR_HWID_BITMASK >> bit & 1),
    RES1 | MT,
    INVALID_HWID & ~MPIDR_HWID_BITMASK,
)
# In the order in which examples shrink: what a PE reads comes first.
_FLAGS = (RES1, RES1 | MT, RES1 | U, RES1 | MT | U, 0, MT, U, MT | U)
# Where lists of GICv2 and GICv3 targets, of 8-bit indices and of arm64 kernels end.
_SIZES = (1, 2, 3, 8, 9, 16, 17, 255, 256, 257, 4095, 4096)
_FIELD_SIZES = (256, 1, 2, 3, 4, 8, 16)

_field = st.one_of(st.integers(0, 3), st.sampled_from((15, 16, 127, 128, 254, 255)), st.integers(0, 255))
_upper_field = st.one_of(st.just(0), _field)


def hwids() -> st.SearchStrategy[int]:
    """Strategy of one hwid (u64): four affinity fields, most often small, at a boundary, or 0.

    ::

        @given(hwids())
        def test_mask_keeps_it(value: int) -> None:
            assert value & MPIDR_HWID_BITMASK == value
    """
    return st.builds(affinity, _upper_field, _upper_field, _upper_field, _field)


def mpidrs(table: Sequence[int] = ()) -> st.SearchStrategy[int]:
    """Strategy of one raw MPIDR_EL1 (u64): a hwid with MT, U and RES1 in every combination.

    Half of them are adversaries of ``table``: an entry itself, or what a careless mask, shift or compare
    takes for it (a bit or a field that differs, Aff3 lost, fields swapped).

    ::

        @given(st.data(), hwid_tables())
        def test_finds_only_its_own(data: st.DataObject, table: tuple[int, ...]) -> None:
            mpidr = data.draw(mpidrs(table))
            assert lookup(table, mpidr) == (table.index(hwid(mpidr)) if hwid(mpidr) in table else None)

    :param table: u64 each; of entries that are no hwids (holes) the affinity fields count
    """
    values = hwids()
    if table:
        near = st.sampled_from(table).map(neighbours).flatmap(st.sampled_from)
        values = st.one_of(near, values)
    return st.builds(or_, values, st.sampled_from(_FLAGS))


def neighbours(value: int) -> tuple[int, ...]:
    """Return the hwid in ``value`` (u64), and the hwids that are easily taken for it.

    ``neighbours(0x100000002)`` has 0x100000002, 0x2 (Aff3 lost), 0x100000003, 0x100000200 (swapped) ...
    """
    value &= MPIDR_HWID_BITMASK
    aff = [value >> low & 0xFF for _, low in _FIELDS]
    found = [value]
    for place, (high, low) in enumerate(_FIELDS):
        others = value & ~(0xFF << low)
        found += [others, *(others | (aff[place] + step & 0xFF) << low for step in (1, -1))]
        found += [value ^ 1 << bit for bit in range(low, high + 1)]
    for one, two in combinations(range(4), 2):
        swapped = aff.copy()
        swapped[one], swapped[two] = aff[two], aff[one]
        found.append(affinity(*reversed(swapped)))
    found.append(affinity(*aff))  # the other way round
    return tuple(dict.fromkeys(found))


def hwid_tables(
    min_size: int = 1, max_size: int = 300, hole: int | None = INVALID_HWID
) -> st.SearchStrategy[tuple[int, ...]]:
    """Strategy of a hwid table: distinct hwids by logical CPU number, with holes anywhere.

    At least one entry is no hole. Sizes are biased to 1, 2, 3, 255, 256 and other boundaries.

    ::

        @given(hwid_tables(max_size=64, hole=None))
        def test_every_cpu_finds_itself(table: tuple[int, ...]) -> None:
            assert [lookup(table, value | RES1) for value in table] == list(range(len(table)))

    :param min_size: entries, holes included; 1..4096
    :param max_size: as ``min_size``, and not less
    :param hole: u64 in entries that belong to no CPU; None: there are none
    :raises InvalidCase: sizes out of range
    """
    _check_sizes(min_size, max_size, NR_CPUS_MAX)
    return _tables(min_size, max_size, hole)


def topologies(
    min_cpus: int = 1, max_cpus: int = 32, firmware: str | None = None
) -> st.SearchStrategy[Topology]:
    """Strategy of a topology in which nothing is wrong: distinct hwids, the boot CPU listed, PSCI everywhere.

    Any CPU may boot. MT, a second core type, cores and threads that are described, and with ACPI CPUs that
    are only Online-capable are drawn too.

    ::

        @given(topologies(max_cpus=8, firmware="devicetree"))
        def test_round_trip(topology: Topology) -> None:
            assert parse(write(topology)).cpus == topology.cpus

    :param min_cpus: 1..4096
    :param max_cpus: as ``min_cpus``, and not less
    :param firmware: one of FIRMWARES; None: any
    :raises InvalidCase: counts out of range, no such firmware
    """
    _check_sizes(min_cpus, max_cpus, NR_CPUS_MAX)
    return _topologies(min_cpus, max_cpus, _check_firmware(firmware))


def broken_topologies(
    max_cpus: int = 32, firmware: str | None = None, kinds: Collection[str] = KINDS
) -> st.SearchStrategy[Topology]:
    """Strategy of a topology in which one or more things are wrong; its name says which.

    | kind | what is wrong |
    |---|---|
    | duplicate | a secondary is listed again |
    | reserved-bits | entries, or all, have bits outside MPIDR_HWID_BITMASK |
    | boot-twice | the boot CPU is listed again |
    | boot-missing | the boot CPU is not listed |
    | disabled | entries are neither Enabled nor Online-capable (ACPI only) |
    | enable-method | entries (ACPI: all) have no enable-method, an unknown one, or half of one |
    | too-many | more entries than ``max_cpus`` |

    Boot-missing and boot-twice never come together.

    ::

        @given(broken_topologies(max_cpus=8, kinds=["duplicate"]))
        def test_a_duplicate_is_refused(topology: Topology) -> None:
            assert len(possible_cpus(topology)) < len(topology.cpus)

    :param max_cpus: entries, 4..4000; only too-many exceeds it, by 1..4
    :param firmware: one of FIRMWARES; None: any
    :param kinds: of KINDS, those to draw from
    :raises InvalidCase: counts out of range, no such firmware, no such kind, none that this firmware can say
    """
    _check_sizes(4, max_cpus, 4000)
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidCase(f"kinds: {kind!r} is {not_one_of(kind, KINDS)}")
    firmwares = _check_firmware(firmware)
    usable = [kind for kind in KINDS if kind in kinds and (kind != "disabled" or "acpi" in firmwares)]
    if not usable:
        raise InvalidCase(
            f"kinds: none of {', '.join(kinds) or 'nothing'} exists with {firmware or 'any firmware'}"
        )
    return _broken(max_cpus, firmwares, usable)


def _check_sizes(least: int, most: int, bound: int) -> None:
    if not 1 <= least <= most <= bound:
        raise InvalidCase(f"{least}..{most} CPUs: a range within 1..{bound}, not empty")


def _check_firmware(firmware: str | None) -> tuple[str, ...]:
    if firmware is None:
        return FIRMWARES
    if firmware not in FIRMWARES:
        raise InvalidCase(f"firmware={firmware!r}: {not_one_of(firmware, FIRMWARES)}")
    return (firmware,)


def _sizes(least: int, most: int) -> st.SearchStrategy[int]:
    # Half of them small or a boundary. One choice, because Hypothesis takes fewer choices for simpler.
    every = range(least, most + 1)
    favoured = [*every[:4], *(size for size in _SIZES if size in every)]
    return st.sampled_from(sorted([*every, *favoured * (len(every) // len(favoured))]))


@st.composite
def _shapes(draw: st.DrawFn, size: int) -> list[int]:
    # `size` distinct hwids in counting order: so many to each field, each with a stride and an offset.
    radices = [draw(st.sampled_from(_FIELD_SIZES)) for _ in _FIELDS[:3]]
    if radices[0] * radices[1] * radices[2] * 256 < size:
        radices[0] = 256
    values = [0] * size
    below = [1, radices[0], radices[0] * radices[1], radices[0] * radices[1] * radices[2]]
    # Aff3 first: what is drawn first is kept at 0 first.
    for (_, low), radix, group in reversed(list(zip(_FIELDS, (*radices, 256), below, strict=True))):
        used = min(radix, -(-size // group))
        stride = draw(st.integers(1, 255 // max(used - 1, 1)))
        offset = draw(st.just(0) | st.integers(0, 255 - (used - 1) * stride))
        for index in range(size):
            values[index] |= (index // group % radix * stride + offset) << low
    return values


@st.composite
def _numbers(draw: st.DrawFn, size: int) -> list[int]:
    # `size` distinct hwids: a shape, in order or not, and up to 8 numbers that do not fit it.
    values = draw(_shapes(size))
    order = draw(st.just(0) | st.integers(1, 0xFFFF))
    if order:
        ordered = values.copy()
        Random(order).shuffle(values)
        if values == ordered:  # few CPUs: no order may turn into order while an example shrinks
            values.reverse()
    present = set(values)
    strays = draw(st.dictionaries(st.integers(0, size - 1), hwids(), max_size=min(size, 8)))
    for index, stray in strays.items():
        if stray not in present:
            present = present - {values[index]} | {stray}
            values[index] = stray
    return values


@st.composite
def _tables(draw: st.DrawFn, least: int, most: int, hole: int | None) -> tuple[int, ...]:
    size = draw(_sizes(least, most))
    values = draw(_numbers(size))
    if hole is None:
        return tuple(values)
    # Indices are clipped rather than bounded: a hole at either end stays there while the table shrinks.
    index = st.integers(0, 3) | st.integers(0, most - 1)
    kept = min(draw(index), size - 1)
    for first, length in draw(
        st.lists(st.tuples(index, st.integers(1, 3) | st.integers(1, most)), max_size=3)
    ):
        first = min(first, size - 1)
        for place in range(first, min(first + length, size)):
            if place != kept:
                values[place] = hole
    return tuple(values)


def _ranks(keys: Iterable[int]) -> dict[int, int]:
    # Each key to its place, from 0, among the distinct ones with the same bits from 8 up.
    found: dict[int, int] = {}
    counts: dict[int, int] = {}
    for key in sorted(set(keys)):
        found[key] = counts.get(key >> 8, 0)
        counts[key >> 8] = found[key] + 1
    return found


def _packed(cpu: Cpu) -> int:
    # The four fields side by side, u32.
    return cpu.hwid >> 8 & 0xFF00_0000 | cpu.hwid & 0xFF_FFFF


def _describe(cpus: list[Cpu]) -> list[Cpu]:
    # Cores and so on as the fields have them, counted from 0 without gaps, as cpu-map wants. Without threads
    # Aff3 and Aff2 together are the socket.
    levels = [_ranks(_packed(cpu) >> 8 * level for cpu in cpus) for level in range(4)]
    sockets = {key: rank for rank, key in enumerate(sorted({_packed(cpu) >> 16 for cpu in cpus}))}
    found = []
    for cpu in cpus:
        first, second, third, fourth = (
            ranks[_packed(cpu) >> 8 * level] for level, ranks in enumerate(levels)
        )
        if cpu.mt:
            found.append(replace(cpu, thread=first, core=second, cluster=third, socket=fourth))
        else:
            found.append(replace(cpu, core=first, cluster=second, socket=sockets[_packed(cpu) >> 16]))
    return found


@st.composite
def _topologies(draw: st.DrawFn, least: int, most: int, firmwares: tuple[str, ...]) -> Topology:
    size = draw(_sizes(least, most))
    values = draw(_numbers(size))
    mt, u = draw(st.booleans()), draw(st.booleans()) and size == 1
    odd_midr = draw(st.sampled_from((MIDR_CORTEX_A72, MIDR_CORTEX_A53)))
    cpus = [
        Cpu(value, odd_midr if value >> AFF1[1] & 1 else MIDR_CORTEX_A72, mt=mt, u=u, enable_method="psci")
        for value in values
    ]
    if draw(st.booleans()):
        cpus = _describe(cpus)
    boot = draw(st.just(0) | st.integers(0, size - 1))
    firmware = draw(st.sampled_from(firmwares))
    if firmware == "acpi" and draw(st.booleans()):
        for index in draw(_some(size)):
            if index != boot:
                cpus[index] = replace(cpus[index], enabled=False, online_capable=True)
    return Topology("generated", tuple(cpus), boot, firmware=firmware)


def _some(size: int) -> st.SearchStrategy[range]:
    # One index, or every so many from there on: two choices, the same for every size.
    def pick(first: int, step: int) -> range:
        return range(first, size if step else first + 1, step or 1)

    return st.builds(pick, st.integers(0, size - 1), st.integers(0, min(size, 4)))


@st.composite
def _broken(draw: st.DrawFn, most: int, firmwares: tuple[str, ...], usable: list[str]) -> Topology:
    # All choices are made whether they matter or not: so each kind can go without moving the others.
    chosen = [kind for kind in usable if draw(st.integers(0, 3)) == 3]
    kinds = set(chosen or [draw(st.sampled_from(usable))])
    if "boot-missing" in kinds:
        kinds.discard("boot-twice")
    if "disabled" in kinds:
        firmwares = ("acpi",)
    added, removed = len(kinds & {"duplicate", "boot-twice"}), len(kinds & {"boot-missing"})
    if "too-many" in kinds:
        least, most = most + 1 - added + removed, most + 4 - added
    else:
        least, most = (2 if kinds & {"duplicate", "boot-missing"} else 1), most - added
    base = draw(_topologies(least, most, firmwares))
    entries, boot = list(base.cpus), base.boot
    secondaries = [cpu for cpu in entries if cpu is not boot]
    if "boot-missing" in kinds:
        entries = secondaries.copy()
    again = draw(st.integers(0, max(len(secondaries) - 1, 0)))
    for kind, cpu in (("duplicate", secondaries[again] if secondaries else boot), ("boot-twice", boot)):
        from_end = draw(st.integers(0, len(entries)))
        if kind in kinds:
            entries.insert(len(entries) - from_end, cpu)
    listed = next((index for index, cpu in enumerate(entries) if cpu is boot), None)
    for kind, spoiled in _spoilers(draw):
        where = draw(_some(len(entries)))
        if kind in kinds:
            # ACPI says PSCI once for all.
            everywhere = kind == "enable-method" and base.firmware == "acpi"
            for index in range(len(entries)) if everywhere else where:
                entries[index] = spoiled(entries[index])
    name = f"generated, {', '.join(kind for kind in KINDS if kind in kinds)}"
    return Topology(name, tuple(entries), boot if listed is None else listed, firmware=base.firmware)


def _spoilers(draw: st.DrawFn) -> tuple[tuple[str, Callable[[Cpu], Cpu]], ...]:
    # What makes an entry wrong, by kind.
    stray = draw(st.sampled_from(_STRAYS))
    method = draw(st.sampled_from(("", "unknown", "spin-table")))  # spin-table without a release address
    return (
        ("reserved-bits", lambda cpu: replace(cpu, hwid=cpu.hwid | stray)),
        ("disabled", lambda cpu: replace(cpu, enabled=False, online_capable=False)),
        ("enable-method", lambda cpu: replace(cpu, enable_method=method)),
    )
