"""Unmodified kernels that find their CPUs in our ACPI tables, by way of EFI."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from booting import Run, run

from emu.arch.mpidr import INVALID_HWID
from emu.errors import Untestable
from emu.topology import Cpu, Topology
from emu.topology.acpi.write import write_acpi

KERNELS = ("EMU_KERNEL_612", "EMU_KERNEL_61", "EMU_KERNEL_16K")
_LOG_SIZE = 1 << 17  # CONFIG_LOG_BUF_SHIFT=17
# What ACPICA, EFI and the kernel say of tables that are not as they should be.
_COMPLAINTS = ("WARNING", "Firmware", "ACPI Error", "ACPI Warning", "ACPI BIOS", "Failed", "Unable", "nvalid")


def _kernel_log(done: Run) -> str:
    # The text that lies in the kernel's ring buffer, however its records are arranged.
    memory, subject = done.boot.machine.memory, done.boot.guest.subject
    text = memory.read_bytes(subject.pa("__log_buf"), _LOG_SIZE)
    return "\n".join(found.decode() for found in re.findall(rb"[\x20-\x7e]{6,}", text))


def _logical_map(done: Run) -> list[int]:
    memory, pa = done.boot.machine.memory, done.boot.guest.subject.pa("__cpu_logical_map")
    hwids = [memory.read(pa + 8 * cpu, 8) for cpu in range(32)]
    return hwids[: hwids.index(INVALID_HWID)]


@pytest.fixture
def topology_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a topology of these CPUs in a JSON file."""

    def write(*cpus: dict[str, Any]) -> Path:
        path = tmp_path / "topology.json"
        path.write_text(json.dumps({"cpus": cpus}))
        return path

    return write


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_cpu_of_the_madt_comes_up(real_kernel: Callable[[str], Path], kernel: str, el: int) -> None:
    done = run(f"{real_kernel(kernel)} firmware=acpi topology=flat:20 el={el}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 20
    assert _logical_map(done) == list(range(20))


@pytest.mark.parametrize("append", ["acpi=force", "acpi_force_table_verification"])
def test_the_kernel_has_nothing_to_say_against_the_tables(
    real_kernel: Callable[[str], Path], append: str
) -> None:
    """The second makes it check all checksums while it boots."""
    done = run(f"{real_kernel('EMU_KERNEL_612')} firmware=acpi topology=flat:4 append={append}")
    log = _kernel_log(done)
    assert "efi: EFI v2.10 by emu" in log
    assert [name for name in ("RSDP", "XSDT", "FACP", "DSDT", "APIC") if f"ACPI: {name} 0x" not in log] == []
    assert "psci: probing for conduit method from ACPI." in log
    assert [line for line in log.split("\n") if any(what in line for what in _COMPLAINTS)] == []
    verified = "enabled" if append != "acpi=force" else "disabled"
    assert f"Early table checksum verification {verified}" in log


def test_device_tree_and_acpi_run_the_same_path_on_the_secondaries(
    real_kernel: Callable[[str], Path],
) -> None:
    counted = []
    for firmware in ("devicetree", "acpi"):
        done = run(f"{real_kernel('EMU_KERNEL_612')} firmware={firmware} topology=flat:3")
        counted.append([actor.pe.counters.instructions for actor in done.boot.machine.actors])
    assert counted[0] == counted[1]


def test_bad_entries_take_no_number_and_the_kernel_says_so(
    real_kernel: Callable[[str], Path], topology_file: Callable[..., Path]
) -> None:
    """Linux v6.12 arch/arm64/kernel/smp.c, acpi_map_gic_cpu_interface()."""
    path = topology_file(
        {"hwid": 0},
        {"hwid": 1},
        {"hwid": 1},
        {"hwid": 2, "enabled": False},
        {"hwid": 0x1000100},
        {"hwid": 0},
        {"hwid": 0x1_0000_0002},
    )
    done = run(f"{real_kernel('EMU_KERNEL_612')} firmware=acpi topology={path}")
    assert _logical_map(done) == [0, 1, 0x1_0000_0002]
    assert done.outcomes == ["online"] * 3
    log = _kernel_log(done)
    for message in (
        "duplicate CPU MPIDR 0x1 in MADT",
        "skipping CPU entry with invalid MPIDR 0x1000100",
        "duplicate boot CPU MPIDR: 0x0 in MADT",
    ):
        assert message in log


def test_an_online_capable_cpu_is_possible_and_not_there_yet(
    real_kernel: Callable[[str], Path], topology_file: Callable[..., Path]
) -> None:
    """Since virtual CPU hotplug (in 6.12, not in 6.1) such an entry takes a number."""
    path = topology_file(
        {"hwid": 0},
        {"hwid": 1, "enabled": False, "online_capable": True},
        {"hwid": 2, "online_capable": True},
    )
    done = run(f"{real_kernel('EMU_KERNEL_612')} firmware=acpi topology={path}")
    assert _logical_map(done) == [0, 1, 2]
    assert done.outcomes == ["online", "off", "online"]


def test_without_the_boot_cpu_in_the_madt_it_stays_alone(
    real_kernel: Callable[[str], Path], topology_file: Callable[..., Path]
) -> None:
    path = topology_file({"hwid": 0, "enabled": False}, {"hwid": 1}, {"hwid": 2})
    done = run(f"{real_kernel('EMU_KERNEL_612')} firmware=acpi topology={path}")
    assert _logical_map(done) == [0, 1, 2]  # mapped, but none of them possible
    assert "missing boot CPU MPIDR, not enabling secondaries" in _kernel_log(done)
    assert done.outcomes[0] == "online"
    assert "online" not in done.outcomes[1:]


def test_the_parking_protocol_takes_over_where_the_fadt_has_no_psci(
    real_kernel: Callable[[str], Path],
) -> None:
    done = run(
        f"{real_kernel('EMU_KERNEL_612')} firmware=acpi enable-method=parking-protocol topology=flat:4 el=2"
    )
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert "psci: is not implemented in ACPI." in _kernel_log(done)


def test_a_directory_of_tables_boots_as_the_machine_that_it_is_of(
    real_kernel: Callable[[str], Path], tmp_path: Path
) -> None:
    cpus = tuple(Cpu(index >> 1 << 8 | index & 1, core=index >> 1, thread=index & 1) for index in range(6))
    for signature, table in write_acpi(Topology("t", cpus, conduit="hvc"), 0).tables.items():
        (tmp_path / signature).write_bytes(table)
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology={tmp_path}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 6
    assert _logical_map(done) == [0, 1, 0x100, 0x101, 0x200, 0x201]
    assert "ACPI: PPTT 0x" in _kernel_log(done)


def test_a_kernel_without_acpi_cannot_be_tested(real_kernel: Callable[[str], Path]) -> None:
    with pytest.raises(Untestable, match="firmware=acpi: the kernel is built without CONFIG_ACPI$"):
        run(f"{real_kernel('EMU_KERNEL_SMALL')} firmware=acpi topology=flat:2")
