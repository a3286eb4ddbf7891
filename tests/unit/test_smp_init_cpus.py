"""smp_init_cpus(): which logical CPUs come of what firmware lists, and what the kernel says of the rest.

Linux v6.12 arch/arm64/kernel/smp.c: of_parse_and_init_cpus(), acpi_map_gic_cpu_interface(), smp_init_cpus().
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID, MPIDR_HWID_BITMASK
from emu.host.logical_map import LogicalMap
from emu.host.smp_init_cpus import count_cores, smp_init_cpus
from emu.topology import Cpu, Topology
from emu.topology.generate import broken_topologies, topologies

STRAY = 1 << 24


def init(topology: Topology, nr_cpus: int = 256, nr_cpu_ids: int = 0, **options: bool) -> LogicalMap:
    """Walk a list whose CPUs have PSCI unless they say otherwise."""
    cpus = tuple(replace(cpu, enable_method=cpu.enable_method or "psci") for cpu in topology.cpus)
    return smp_init_cpus(replace(topology, cpus=cpus), nr_cpus, nr_cpu_ids or nr_cpus, **options)


def listed(firmware: str, *hwids: int, boot: int | Cpu = 0) -> Topology:
    """These hwids in this order."""
    return Topology("t", tuple(map(Cpu, hwids)), boot, firmware=firmware)


both = pytest.mark.parametrize("firmware", ["devicetree", "acpi"])


@both
@given(st.data())
def test_boot_cpu_is_logical_0_and_the_others_keep_their_order(firmware: str, data: st.DataObject) -> None:
    topology = data.draw(topologies(firmware=firmware))
    found = init(topology, 4096)
    others = [cpu.hwid for cpu in topology.cpus if cpu is not topology.boot]
    assert list(found.cpu_logical_map) == [topology.boot.hwid, *others]
    assert found.possible == set(range(len(topology.cpus)))
    assert found.messages == ()


def test_in_a_device_tree_a_refused_entry_consumes_its_number() -> None:
    found = init(listed("devicetree", 0, 1, 1, STRAY | 2, 3))
    assert found.cpu_logical_map == (0, 1, INVALID_HWID, INVALID_HWID, 3)
    assert found.possible == {0, 1, 4}
    assert found.count == 5
    assert found.messages == ("/cpus/cpu@1,2: duplicate cpu reg properties in the DT",)


def test_in_a_madt_a_refused_entry_takes_no_number() -> None:
    found = init(listed("acpi", 0, 1, 1, STRAY | 2, INVALID_HWID, 3))
    assert found.cpu_logical_map == (0, 1, 3)
    assert found.count == 3
    assert found.messages == (
        "duplicate CPU MPIDR 0x1 in MADT",
        "skipping CPU entry with invalid MPIDR 0x1000002",
        "skipping CPU entry with invalid MPIDR 0xffffffffffffffff",
    )


def test_boot_cpu_listed_twice() -> None:
    found = init(listed("devicetree", 7, 0, 7, boot=0))
    assert found.cpu_logical_map == (7, 0, INVALID_HWID)
    assert found.messages == ("/cpus/cpu@7,2: duplicate boot cpu reg property in DT",)
    found = init(listed("acpi", 7, 0, 7, boot=0))
    assert found.cpu_logical_map == (7, 0)
    assert found.messages == ("duplicate boot CPU MPIDR: 0x7 in MADT",)


@both
def test_without_the_boot_cpu_no_secondary_is_enabled_but_all_are_mapped(firmware: str) -> None:
    found = init(listed(firmware, 1, 2, boot=Cpu(0x500)))
    assert found.cpu_logical_map == (0x500, 1, 2)
    assert found.possible == {0}
    assert found.messages == ("missing boot CPU MPIDR, not enabling secondaries",)


@both
def test_a_boot_cpu_listed_with_stray_bits_is_not_listed(firmware: str) -> None:
    """The kernel knows it from MPIDR_EL1, which has none."""
    found = init(listed(firmware, STRAY | 5, 6))
    assert found.cpu_logical_map[0] == 5
    assert found.possible == {0}
    assert found.messages[-1] == "missing boot CPU MPIDR, not enabling secondaries"


def test_a_device_tree_beyond_nr_cpus_is_counted_and_dropped() -> None:
    found = init(listed("devicetree", *range(8)), 4)
    assert found.cpu_logical_map == (0, 1, 2, 3)
    assert found.messages == ("Number of cores (8) exceeds configured maximum of 4 - clipping",)


def test_a_madt_beyond_nr_cpus_is_dropped_without_a_word() -> None:
    """acpi_map_gic_cpu_interface() returns before it counts."""
    found = init(listed("acpi", *range(8)), 4)
    assert (found.cpu_logical_map, found.count, found.messages) == ((0, 1, 2, 3), 4, ())


@both
def test_cpus_beyond_nr_cpu_ids_are_mapped_and_not_possible(firmware: str) -> None:
    found = init(listed(firmware, *range(8)), 256, 4)
    assert found.cpu_logical_map == tuple(range(8))
    assert found.possible == {0, 1, 2, 3}
    assert found.messages == ("Number of cores (8) exceeds configured maximum of 4 - clipping",)


def test_a_gicc_counts_when_it_is_enabled_or_online_capable() -> None:
    cpus = (Cpu(0), Cpu(1, enabled=False), Cpu(2, enabled=False, online_capable=True), Cpu(3))
    topology = Topology("t", cpus, firmware="acpi")
    assert init(topology).cpu_logical_map == (0, 2, 3)
    assert init(topology, online_capable=False).cpu_logical_map == (0, 3)


def test_a_cpu_whose_setup_fails_loses_its_entry_and_is_not_possible() -> None:
    cpus = (
        Cpu(0, enable_method="psci"),
        Cpu(1),
        Cpu(2, enable_method="magic"),
        Cpu(3, enable_method="spin-table"),
        Cpu(4, enable_method="spin-table", release_addr=8),
        Cpu(5, enable_method="psci"),
    )
    found = smp_init_cpus(Topology("t", cpus), 256, 256, {5})
    assert found.cpu_logical_map == (0, *[INVALID_HWID] * 3, 4, INVALID_HWID)
    assert found.hwids == (0, 1, 2, 3, 4, 5)
    assert found.possible == {0, 4}
    assert found.messages == (
        "/cpus/cpu@1: missing enable-method property",
        "Unsupported enable-method: magic",
        "CPU 3: missing or invalid cpu-release-addr property",
    )


def test_a_gicc_without_psci_needs_a_mailbox_and_a_parking_version() -> None:
    method = "parking-protocol"
    cpus = (
        Cpu(0),
        Cpu(1, enable_method=method, release_addr=0x1000, parking_version=1),
        Cpu(2, enable_method=method, release_addr=0x1000),
        Cpu(3, enable_method=method, parking_version=1),
        Cpu(4),
    )
    found = smp_init_cpus(Topology("t", cpus, firmware="acpi"), 256, 256)
    assert found.possible == {0, 1}
    assert found.messages == ("Unsupported ACPI enable-method",) * 3


@given(topologies() | broken_topologies(), st.integers(1, 40), st.integers(1, 40))
def test_whatever_firmware_lists_the_map_is_fit_for_a_look_up(
    topology: Topology, nr_cpus: int, nr_cpu_ids: int
) -> None:
    found = init(topology, nr_cpus, min(nr_cpus, nr_cpu_ids))
    mapped = [hwid for hwid in found.cpu_logical_map if hwid != INVALID_HWID]
    assert len(found.cpu_logical_map) <= nr_cpus
    assert len(set(mapped)) == len(mapped)
    assert all(hwid & ~MPIDR_HWID_BITMASK == 0 for hwid in mapped)
    assert found.cpu_logical_map[0] == topology.boot.hwid & MPIDR_HWID_BITMASK
    assert 0 in found.possible
    assert all(cpu < nr_cpu_ids and found.cpu_logical_map[cpu] != INVALID_HWID for cpu in found.possible)
    assert set(mapped[1:]) <= {cpu.hwid for cpu in topology.cpus}


@given(topologies() | broken_topologies())
def test_as_many_as_are_counted_lose_none(topology: Topology) -> None:
    count = count_cores(topology)
    assert init(topology, count).possible == init(topology, 4096).possible
    assert not any("clipping" in line for line in init(topology, count).messages)
