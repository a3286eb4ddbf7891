"""The strategies of emu.topology.generate: what they draw is what they promise, and shrinks to the least."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID, MPIDR_HWID_BITMASK, MT, RES1, U
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.generate import (
    KINDS,
    broken_topologies,
    hwid_tables,
    hwids,
    mpidrs,
    neighbours,
    topologies,
)

FLAGS = MT | U | RES1
# No explanations of what is found: nobody reads them, and Python traces every line for them.
PHASES = [phase for phase in settings.default.phases if phase is not Phase.explain]
FIND = settings(max_examples=5000, database=None, derandomize=True, phases=PHASES)
SLOW = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)

Table = tuple[int, ...]


def least_table(wanted: Callable[[Table], bool], **arguments: int | None) -> Table:
    """The table to which one with a property shrinks."""
    return find(hwid_tables(**arguments), wanted, settings=FIND)


def found(strategy: st.SearchStrategy[Any], wanted: Callable[[Any], bool]) -> bool:
    """Whether a strategy draws something with a property; much faster than the least of it."""
    phases = [phase for phase in PHASES if phase is not Phase.shrink]
    find(strategy, wanted, settings=settings(FIND, phases=phases))
    return True


def least_topology(strategy: st.SearchStrategy[Topology], wanted: Callable[[Topology], bool]) -> Topology:
    """The topology to which one with a property shrinks."""
    return find(strategy, wanted, settings=FIND)


# -- hwids and MPIDRs --------------------------------------------------------------------------------


@given(hwids())
def test_hwids_have_affinity_bits_only(value: int) -> None:
    assert value & MPIDR_HWID_BITMASK == value


def test_hwids_fill_every_field() -> None:
    assert find(hwids(), lambda value: value == MPIDR_HWID_BITMASK, settings=FIND) == MPIDR_HWID_BITMASK
    assert find(hwids(), lambda value: bool(value >> 32), settings=FIND) == 1 << 32
    assert find(hwids(), lambda value: True, settings=FIND) == 0


@given(mpidrs())
def test_mpidrs_have_affinity_bits_and_mt_u_and_res1_only(value: int) -> None:
    assert not value & ~(MPIDR_HWID_BITMASK | FLAGS)


@pytest.mark.parametrize("flags", [mt | u | res1 for mt in (0, MT) for u in (0, U) for res1 in (0, RES1)])
def test_every_combination_of_mt_u_and_res1_is_drawn(flags: int) -> None:
    assert find(mpidrs(), lambda value: value & FLAGS == flags, settings=FIND) == flags


def test_mpidrs_are_those_of_a_table_and_its_neighbours() -> None:
    table = (0x1_0000_0002, INVALID_HWID)
    for wanted in (0x1_0000_0002, 0x2, 0x1_0000_0003, 0x1_0000_0200, 0x2_0000_0001, MPIDR_HWID_BITMASK):
        drawn = find(mpidrs(table), lambda v, wanted=wanted: v & MPIDR_HWID_BITMASK == wanted, settings=FIND)
        assert drawn == wanted | RES1


@given(hwids())
def test_neighbours_are_distinct_hwids_and_begin_with_the_value(value: int) -> None:
    near = neighbours(value)
    assert near[0] == value
    assert len(set(near)) == len(near)
    assert all(other & MPIDR_HWID_BITMASK == other for other in near)
    flipped = {value ^ 1 << bit for bit in range(64) if MPIDR_HWID_BITMASK >> bit & 1}
    assert flipped <= set(near)
    assert {value & 0xFFFF_FFFF, value & ~0xFF} <= set(near)


# -- tables ------------------------------------------------------------------------------------------


@SLOW
@given(st.integers(1, 300), st.integers(0, 300), st.data())
def test_tables_hold_distinct_hwids(least: int, more: int, data: st.DataObject) -> None:
    table = data.draw(hwid_tables(least, least + more, hole=None))
    assert least <= len(table) <= least + more
    assert len(set(table)) == len(table)
    assert all(value & MPIDR_HWID_BITMASK == value for value in table)


@SLOW
@given(hwid_tables(max_size=40))
def test_holes_are_all_ones_and_never_everything(table: Table) -> None:
    real = [value for value in table if value != INVALID_HWID]
    assert real
    assert len(set(real)) == len(real)
    assert all(value & MPIDR_HWID_BITMASK == value for value in real)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(hwid_tables(min_size=4096, max_size=4096, hole=None))
def test_the_largest_table_is_drawn(table: Table) -> None:
    """No field overflows, whatever the shape."""
    assert len(set(table)) == 4096
    assert all(value & MPIDR_HWID_BITMASK == value for value in table)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257])
def test_boundaries_are_found(size: int) -> None:
    assert found(hwid_tables(max_size=300), lambda table: len(table) == size)


@pytest.mark.parametrize("size", [1, 3, 256])
def test_tables_shrink_to_counting(size: int) -> None:
    assert least_table(lambda table: len(table) >= size, max_size=size + 8, hole=None) == tuple(range(size))


@pytest.mark.parametrize(
    ("wanted", "entries", "largest"),
    [
        (lambda table: any(value >> 32 for value in table), 1, 0x1_0000_0000),
        (lambda table: list(table) != sorted(table), 2, 3),
        (lambda table: len(table) > 1 and 0 not in table, 2, 3),
        (lambda table: max(table) >= 256, 1, 256),
        (lambda table: max(table) >= len(table) > 1, 2, 3),
    ],
    ids=["aff3", "unsorted", "no 0", "aff1", "gap"],
)
def test_tables_shrink_to_little(wanted: Callable[[Table], bool], entries: int, largest: int) -> None:
    table = least_table(wanted, max_size=24, hole=None)
    assert len(table) == entries
    assert max(table) <= largest


@pytest.mark.parametrize(
    ("wanted", "least"),
    [
        (lambda table: table[-1] == INVALID_HWID, (0, INVALID_HWID)),
        (lambda table: table[0] == INVALID_HWID, (INVALID_HWID, 1)),
        (lambda table: INVALID_HWID in table[1:-1] and INVALID_HWID not in table[::2], (0, INVALID_HWID, 2)),
    ],
    ids=["behind", "before", "between"],
)
def test_holes_are_found_anywhere(wanted: Callable[[Table], bool], least: Table) -> None:
    assert least_table(wanted, max_size=24) == least


def test_a_hole_can_be_zero() -> None:
    """BSS that nobody has filled: the first design's table."""
    assert least_table(lambda table: table.count(0) > 1, max_size=8, hole=0) == (0, 0)


@pytest.mark.parametrize("sizes", [(0, 1), (2, 1), (1, 4097)])
def test_sizes_out_of_range_are_refused_at_once(sizes: tuple[int, int]) -> None:
    with pytest.raises(InvalidCase, match=r"a range within 1\.\.4096, not empty"):
        hwid_tables(*sizes)
    with pytest.raises(InvalidCase, match="not empty"):
        topologies(*sizes)


# -- topologies --------------------------------------------------------------------------------------


@SLOW
@given(topologies(min_cpus=2, max_cpus=40))
def test_topologies_have_nothing_wrong(topology: Topology) -> None:
    values = [cpu.hwid for cpu in topology.cpus]
    assert 2 <= len(values) <= 40
    assert len(set(values)) == len(values)
    assert all(value & MPIDR_HWID_BITMASK == value for value in values)
    assert isinstance(topology.boot_cpu, int)
    assert topology.boot.enabled
    assert all(cpu.enabled is not cpu.online_capable for cpu in topology.cpus)
    assert all(cpu.enabled for cpu in topology.cpus) or topology.firmware == "acpi"
    assert {cpu.enable_method for cpu in topology.cpus} == {"psci"}
    assert len({cpu.mt for cpu in topology.cpus}) == 1


@SLOW
@given(topologies(max_cpus=40).filter(lambda topology: topology.describes_cores))
def test_places_are_distinct_and_counted_without_gaps(topology: Topology) -> None:
    """parse_dt_topology() asks for socket0, socket1 ... until there is none, and so on down to threads."""
    places = {(cpu.socket, cpu.cluster, cpu.core, cpu.thread) for cpu in topology.cpus}
    assert len(places) == len(topology.cpus)
    for level in range(4):
        children: dict[tuple[int, ...], set[int]] = {}
        for place in places:
            children.setdefault(place[:level], set()).add(place[level])
        assert all(found == set(range(len(found))) for found in children.values()), level


@SLOW
@given(topologies(firmware="devicetree"))
def test_firmware_is_as_asked_for(topology: Topology) -> None:
    assert topology.firmware == "devicetree"


@pytest.mark.parametrize(
    ("wanted", "entries", "largest"),
    [
        (lambda t: True, 1, 0),
        (lambda t: t.boot_cpu, 2, 1),
        (lambda t: t.boot.hwid and any(cpu.hwid == 0 for cpu in t.cpus), 2, 1),
        (lambda t: any(cpu.thread for cpu in t.cpus), 2, 1),
        (lambda t: t.describes_cores and len(t.cpus) > 1, 2, 1),
        (lambda t: len({cpu.midr for cpu in t.cpus}) > 1, 2, 0xFFFF),
        (lambda t: any(cpu.u for cpu in t.cpus), 1, 0),
        (lambda t: any(cpu.online_capable for cpu in t.cpus), 2, 1),
    ],
    ids=["any", "boots 2nd", "boots not on 0", "threads", "cores", "two types", "uniprocessor", "hotplug"],
)
def test_topologies_shrink_to_little(wanted: Callable[[Topology], bool], entries: int, largest: int) -> None:
    topology = least_topology(topologies(max_cpus=12), wanted)
    assert len(topology.cpus) == entries
    assert max(cpu.hwid for cpu in topology.cpus) <= largest


# -- broken topologies -------------------------------------------------------------------------------


def wrong(topology: Topology, fits: int) -> set[str]:
    """The kinds that can be seen in a topology."""
    clean = [cpu.hwid & MPIDR_HWID_BITMASK for cpu in topology.cpus]
    boot = topology.boot.hwid & MPIDR_HWID_BITMASK
    there = {
        "duplicate": any(clean.count(value) > 1 for value in clean if value != boot),
        "reserved-bits": any(cpu.hwid & ~MPIDR_HWID_BITMASK for cpu in topology.cpus),
        "boot-twice": clean.count(boot) > 1,
        "boot-missing": boot not in clean,
        "disabled": any(not cpu.enabled and not cpu.online_capable for cpu in topology.cpus),
        "enable-method": any(cpu.enable_method != "psci" for cpu in topology.cpus),
        "too-many": len(clean) > fits,
    }
    assert there["boot-missing"] is isinstance(topology.boot_cpu, Cpu)
    return {kind for kind, is_there in there.items() if is_there}


@SLOW
@given(broken_topologies(max_cpus=12))
def test_broken_topologies_are_wrong_as_their_name_says(topology: Topology) -> None:
    named = set(topology.name.removeprefix("generated, ").split(", "))
    assert wrong(topology, 12) == named
    assert len(topology.cpus) <= 16
    assert "disabled" not in named or topology.firmware == "acpi"


@pytest.mark.parametrize("max_cpus", [4, 5])
@SLOW
@given(data=st.data())
def test_all_kinds_fit_into_few_entries(max_cpus: int, data: st.DataObject) -> None:
    topology = data.draw(broken_topologies(max_cpus))
    assert len(topology.cpus) <= max_cpus or "too-many" in topology.name


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("duplicate", [0, 1, 1]),
        ("reserved-bits", [1 << 24]),
        ("boot-twice", [0, 0]),
        ("boot-missing", [1]),
        ("disabled", [0]),
        ("enable-method", [0]),
        ("too-many", [0, 1, 2, 3, 4]),
    ],
)
def test_each_kind_is_found_alone_and_shrinks_to_the_least(kind: str, least: list[int]) -> None:
    """Among all kinds, as a user's failing example would."""
    topology = least_topology(broken_topologies(max_cpus=4), lambda t: kind in wrong(t, 4))
    assert wrong(topology, 4) == {kind}
    assert [cpu.hwid for cpu in topology.cpus] == least
    assert topology.boot.hwid & MPIDR_HWID_BITMASK == 0


@SLOW
@given(st.sampled_from(list(combinations(KINDS, 2))), st.data())
def test_kinds_are_drawn_from_those_asked_for(kinds: tuple[str, str], data: st.DataObject) -> None:
    there = wrong(data.draw(broken_topologies(max_cpus=6, kinds=kinds)), 6)
    assert there
    assert there <= set(kinds)


def test_kinds_come_together() -> None:
    assert found(broken_topologies(max_cpus=6), lambda t: len(wrong(t, 6)) >= 3)
    assert found(broken_topologies(firmware="acpi"), lambda t: {"disabled", "duplicate"} <= wrong(t, 32))


def test_acpi_has_no_psci_for_one_cpu_alone() -> None:
    """PSCI is a flag of the FADT: all GICCs have it, or none."""
    strategy = broken_topologies(firmware="acpi", kinds=["enable-method"])

    @SLOW
    @given(strategy)
    def check(topology: Topology) -> None:
        assert len({cpu.enable_method for cpu in topology.cpus}) == 1

    check()


def test_kinds_and_firmware_that_do_not_exist_are_refused_at_once() -> None:
    with pytest.raises(InvalidCase, match="'nonsense' is not one of duplicate, "):
        broken_topologies(kinds=["nonsense"])
    with pytest.raises(InvalidCase, match="none of disabled exists with devicetree"):
        broken_topologies(firmware="devicetree", kinds=["disabled"])
    with pytest.raises(InvalidCase, match="none of nothing exists"):
        broken_topologies(kinds=[])
    with pytest.raises(InvalidCase, match=r"3 CPUs: a range within"):
        broken_topologies(max_cpus=3)
    with pytest.raises(InvalidCase, match="firmware='bios': not one of devicetree, acpi"):
        topologies(firmware="bios")


def test_the_example_of_the_page_runs() -> None:
    """docs/topologies.md shows a test; here it is a test."""
    page = (Path(__file__).parents[2] / "docs" / "topologies.md").read_text()
    code = page[page.index("    from emu.arch.mpidr import") :]
    names: dict[str, Any] = {}
    exec(textwrap.dedent(code), names)
    names["test_only_its_own_cpu_finds_an_entry"]()


def test_without_hypothesis_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "emu.topology.generate")
    with pytest.raises(ImportError, match=r"pip install 'arm64-boot-emu\[test\]'"):
        importlib.import_module("emu.topology.generate")
