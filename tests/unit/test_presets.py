"""Presets: the shape that each promises, at every count, and where it ends."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from emu.arch import sysreg
from emu.arch.mpidr import AFF0, AFF1, AFF2, AFF3, MPIDR_HWID_BITMASK, MT
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.json_form import parse_json
from emu.topology.presets import PRESETS, is_preset
from emu.topology.presets import get_preset as make_preset

DOCS = Path(__file__).parents[2] / "docs" / "topologies.md"
# Fewest and most entries, where they are not 1 and 4096.
RANGE = {
    "big-little": (1, 512),
    "bad-duplicate": (4, 4096),
    "bad-reserved-bits": (2, 4096),
    "bad-boot-twice": (2, 4096),
    "bad-holes": (2, 4096),
}
BAD = [name for name in PRESETS if name.startswith("bad-")]
SOUND = [name for name in PRESETS if name not in BAD]


# Large ones are asked for in many tests.
get_preset = cache(make_preset)


def counts(name: str) -> list[int]:
    """Counts to try: the ends, the default, and both sides of full fields."""
    least, most = RANGE.get(name, (1, 4096))
    some = {least, 2, 3, 16, 17, PRESETS[name].cpus, 255, 256, 257, most}
    return sorted(count for count in some if least <= count <= most)


def hwids(text: str) -> list[int]:
    """The hwids of a preset as firmware lists them."""
    return [cpu.hwid for cpu in get_preset(text).cpus]


def field(values: list[int], bits: tuple[int, int]) -> list[int]:
    """One affinity field of each hwid."""
    return [value >> bits[1] & 0xFF for value in values]


def each_of(names: list[str]) -> list[tuple[str, int]]:
    """Every count of the presets."""
    return [(name, count) for name in names for count in counts(name)]


# -- rules of all ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), each_of(list(PRESETS)))
def test_a_preset_has_as_many_entries_as_asked_for_and_their_number_in_its_name(
    name: str, count: int
) -> None:
    topology = get_preset(f"{name}:{count}")
    assert len(topology.cpus) == count
    assert topology.name == f"{name}:{count}"


@pytest.mark.parametrize(("name", "count"), each_of(SOUND))
def test_hwids_are_distinct_and_have_no_other_bits(name: str, count: int) -> None:
    """Arm DDI 0487, MPIDR_EL1: the affinity fields are unique in the system."""
    values = hwids(f"{name}:{count}")
    assert len(set(values)) == count
    assert all(value & MPIDR_HWID_BITMASK == value for value in values)


@pytest.mark.parametrize(("name", "count"), each_of(SOUND))
def test_the_boot_cpu_is_listed_and_there_at_boot(name: str, count: int) -> None:
    topology = get_preset(f"{name}:{count}")
    assert isinstance(topology.boot_cpu, int)
    assert topology.boot.enabled


@pytest.mark.parametrize(("name", "count"), each_of(SOUND))
def test_places_are_distinct_and_counted_without_gaps(name: str, count: int) -> None:
    """parse_dt_topology() asks for socket0, socket1 ... until there is none, and so on down to threads."""
    cpus = get_preset(f"{name}:{count}").cpus
    if not any(cpu.core >= 0 for cpu in cpus):
        return
    places = {(cpu.socket, cpu.cluster, cpu.core, cpu.thread) for cpu in cpus}
    assert len(places) == count
    for level in range(4):
        children: dict[tuple[int, ...], set[int]] = {}
        for place in places:
            children.setdefault(place[:level], set()).add(place[level])
        assert all(found == set(range(len(found))) for found in children.values()), level


@pytest.mark.parametrize("name", PRESETS)
def test_a_shape_ends_with_a_reason(name: str) -> None:
    least, most = RANGE.get(name, (1, 4096))
    for count in (0, 4097):
        with pytest.raises(InvalidCase, match=rf"topology {name}: cpus={count}: NR_CPUS is 1\.\.4096"):
            get_preset(f"{name}:{count}")
    for count in (least - 1, most + 1):
        if 1 <= count <= 4096:
            with pytest.raises(InvalidCase, match=rf"{name} has {least}\.\.{most} CPUs: \w+"):
                get_preset(f"{name}:{count}")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_states_its_shape_in_a_line_and_its_source(name: str) -> None:
    make = PRESETS[name].make
    docstring = __import__(make.__module__, fromlist=["__doc__"]).__doc__
    assert docstring.startswith(PRESETS[name].summary + "\n\n")
    assert "Source: " in " ".join(docstring.split())
    assert len(PRESETS[name].summary) <= 107


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_every_time(name: str) -> None:
    assert make_preset(name) == make_preset(f"{name}:{PRESETS[name].cpus}")


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["nothing", "nothing:3", "", ":3", "Flat", "./flat", "flat.json"])
def test_what_is_no_preset_is_answered_with_the_list(text: str) -> None:
    assert not is_preset(text)
    with pytest.raises(InvalidCase, match="no preset: not one of .*bad-holes, bad-reserved-bits") as caught:
        get_preset(text)
    assert all(name in str(caught.value) for name in PRESETS)


@pytest.mark.parametrize(
    "text", ["flat:", "flat:x", "flat:-1", "flat:0x10", "flat:1:1", "flat:" + "9" * 5000]
)
def test_a_count_that_is_no_number_is_refused(text: str) -> None:
    assert is_preset(text)
    with pytest.raises(InvalidCase, match="flat or flat:N, N a number of CPUs"):
        get_preset(text)


# -- shapes ------------------------------------------------------------------------------------------


def test_flat_counts() -> None:
    assert hwids("flat:257") == [*range(256), 0x100]
    assert hwids("flat:4096")[-1] == 0xFFF


def test_qemu_gicv2_has_8_to_an_aff1() -> None:
    values = hwids("qemu-gicv2:4096")
    assert values[:10] == [*range(8), 0x100, 0x101]
    assert max(field(values, AFF0)) == 7
    assert values[2048] == 0x1_0000


def test_qemu_gicv3_has_16_to_an_aff1() -> None:
    """QEMU 7.2, -M virt,gic-version=3 -smp 20: the reg properties of its CPU nodes."""
    assert hwids("qemu-gicv3:20") == [*range(16), 0x100, 0x101, 0x102, 0x103]
    assert hwids("qemu-gicv3:4096")[-1] == 0xFF0F


def test_clusters_have_4_cores_and_groups_have_4_clusters() -> None:
    topology = get_preset("clusters:4096")
    assert [cpu.hwid for cpu in topology.cpus[14:18]] == [0x302, 0x303, 0x1_0000, 0x1_0001]
    assert topology.cpus[-1].hwid == 0xFF_0303
    assert topology.describes_cores
    assert not any(cpu.mt or cpu.thread for cpu in topology.cpus)


def test_big_little_has_two_core_types_and_boots_on_a_little_one() -> None:
    topology = get_preset("big-little:7")
    midrs = [(cpu.hwid, cpu.midr) for cpu in topology.cpus]
    little, big = 0x410F_D034, 0x410F_D083
    assert midrs == [
        (0, little),
        (1, little),
        (2, little),
        (3, little),
        (0x100, big),
        (0x101, big),
        (0x102, big),
    ]
    assert topology.boot.midr == little
    assert hwids("big-little:512")[-1] == 0x1FF


def test_big_little_cores_differ_in_id_registers_that_early_boot_does_not_read() -> None:
    """__cpu_setup() and __enable_mmu() read MMFR0 (PARange, TGran), MMFR1, MMFR2 and MMFR3 on every CPU."""
    registers = {tuple(cpu.id_registers.items()) for cpu in get_preset("big-little").cpus}
    assert len(registers) == 2
    names = {sysreg.name(encoding) for items in registers for encoding, _ in items}
    assert names == {"ID_AA64ISAR0_EL1"}


def test_smt_has_two_threads_to_a_core() -> None:
    topology = get_preset("smt:4096")
    assert all(cpu.mpidr & MT for cpu in topology.cpus)
    assert [cpu.hwid for cpu in topology.cpus[:4]] == [0x0, 0x1, 0x100, 0x101]
    assert topology.cpus[16].hwid == 0x1_0000
    siblings = [cpu for cpu in topology.cpus if cpu.thread]
    assert len(siblings) == 2048
    assert all(cpu.hwid & 1 == cpu.thread for cpu in topology.cpus)
    assert not any(cpu.thread for cpu in get_preset("smt:1").cpus)


def test_mt_cores_has_no_siblings_though_mt_is_set() -> None:
    topology = get_preset("mt-cores:4096")
    assert all(cpu.mpidr & MT for cpu in topology.cpus)
    assert topology.describes_cores
    assert not any(cpu.thread for cpu in topology.cpus)
    values = [cpu.hwid for cpu in topology.cpus]
    assert set(field(values, AFF0)) == {0}
    assert values[7:9] == [0x700, 0x1_0000]
    assert values[2048] == 0x1_0000_0000


def test_sockets_are_in_aff3() -> None:
    topology = get_preset("sockets:4096")
    values = [cpu.hwid for cpu in topology.cpus]
    assert values[15:17] == [0x303, 0x1_0000_0000]
    assert field(values, AFF3) == [cpu.socket for cpu in topology.cpus]
    assert set(field(values, AFF2)) == {0}


def test_sparse_has_gaps_in_every_field_and_no_order() -> None:
    values = hwids("sparse:4096")
    for bits in (AFF0, AFF1, AFF2, AFF3):
        found = sorted(set(field(values, bits)))
        assert found[0] == 0
        assert found[-1] == 255
        assert found != list(range(len(found)))
    assert values != sorted(values)
    assert hwids("sparse") == values[:16]


def test_sparse_is_the_same_in_every_release() -> None:
    """A case names a preset, and has to run again."""
    assert hwids("sparse:4") == [0x03_0001_1010, 0x80_7F2A, 0x7F_002A_10FF, 0x2A_0080_1001]


def test_boot_elsewhere_boots_on_neither_the_first_cpu_nor_hwid_0() -> None:
    for count in range(2, 20):
        topology = get_preset(f"boot-elsewhere:{count}")
        assert topology.boot_cpu == count // 2
        assert topology.boot.hwid == 0x1_0000
        assert topology.cpus[0].hwid == 0
    assert hwids("boot-elsewhere:1") == [0x1_0000]


def test_largest_is_16_by_16_by_16() -> None:
    values = hwids("largest")
    assert len(values) == 4096
    for bits in (AFF0, AFF1, AFF2):
        assert set(field(values, bits)) == set(range(16))


@pytest.mark.parametrize(("count", "present"), [(1, 1), (2, 1), (7, 4), (8, 4), (4096, 2048)])
def test_vcpus_are_half_there_at_boot(count: int, present: int) -> None:
    """ACPI 6.5, 5.2.12.14: Online-capable is reserved where Enabled is set."""
    topology = get_preset(f"vcpus:{count}")
    assert (topology.firmware, topology.conduit) == ("acpi", "hvc")
    assert [cpu.enabled for cpu in topology.cpus] == [True] * present + [False] * (count - present)
    assert all(cpu.online_capable is not cpu.enabled for cpu in topology.cpus)


# -- broken ones -------------------------------------------------------------------------------------


def stray(topology: Topology) -> list[int]:
    """Indices of entries with bits that are no part of a hwid."""
    return [index for index, cpu in enumerate(topology.cpus) if cpu.hwid & ~MPIDR_HWID_BITMASK]


def repeated(topology: Topology) -> list[int]:
    """Indices of entries with the hwid of an earlier one."""
    values = [cpu.hwid for cpu in topology.cpus]
    return [index for index, value in enumerate(values) if value in values[:index]]


@pytest.mark.parametrize(("name", "count"), each_of(BAD))
def test_bad_presets_are_bad_at_every_count(name: str, count: int) -> None:
    topology = get_preset(f"{name}:{count}")
    missing = isinstance(topology.boot_cpu, Cpu)
    assert missing or stray(topology) or repeated(topology)


def test_bad_duplicate_repeats_a_secondary_only() -> None:
    topology = get_preset("bad-duplicate")
    assert repeated(topology) == [3, 7]
    assert [topology.cpus[index].hwid for index in (1, 3, 7)] == [1, 1, 1]
    assert not stray(topology)


def test_bad_reserved_bits_has_every_kind_of_bit() -> None:
    topology = get_preset("bad-reserved-bits")
    assert stray(topology) == [1, 3, 5, 7]
    bits = [topology.cpus[index].hwid & ~MPIDR_HWID_BITMASK for index in stray(topology)]
    assert bits == [1 << 24, 1 << 30, 1 << 31, 1 << 40]
    assert len({cpu.mpidr for cpu in topology.cpus}) == 8


def test_bad_boot_twice_repeats_the_boot_cpu_only() -> None:
    topology = get_preset("bad-boot-twice")
    assert repeated(topology) == [4]
    assert topology.cpus[4].hwid == topology.boot.hwid
    assert not stray(topology)


def test_bad_boot_missing_boots_on_a_cpu_that_is_not_listed() -> None:
    topology = get_preset("bad-boot-missing:4096")
    assert isinstance(topology.boot_cpu, Cpu)
    assert topology.boot.hwid not in [cpu.hwid for cpu in topology.cpus]
    assert not stray(topology)
    assert not repeated(topology)


def test_bad_holes_begin_with_the_first_secondary() -> None:
    topology = get_preset("bad-holes")
    assert sorted({*stray(topology), *repeated(topology)}) == [1, 2, 5, 6]


# -- docs --------------------------------------------------------------------------------------------


def test_the_page_has_every_preset_with_its_count_and_first_hwids() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\d+) \| .*? \| ((?:0x[0-9a-f]+ ?)+)\|", DOCS.read_text(), re.M)
    assert sorted(name for name, _, _ in rows) == sorted(PRESETS)
    for name, count, first in rows:
        assert int(count) == PRESETS[name].cpus
        shown = first.split()
        assert [f"{value:#x}" for value in hwids(name)[: len(shown)]] == shown, name


def test_the_json_of_the_page_is_a_topology() -> None:
    block = DOCS.read_text().partition("## JSON")[2].partition("\n\n    {")[2].partition("\n\n")[0]
    topology = parse_json(b"{" + block.encode(), "page")
    assert [cpu.hwid for cpu in topology.cpus] == [0, 1, 0x100]
    assert topology.boot_cpu == 1


def test_the_page_has_every_key_with_its_default() -> None:
    """The tables of keys follow Cpu and Topology."""
    section = DOCS.read_text().partition("## JSON")[2].partition("\n## ")[0]
    keys = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", section, re.M)))
    wanted = [field.name for kind in (Topology, Cpu) for field in fields(kind) if field.name != "name"]
    assert sorted(keys) == sorted(wanted)
