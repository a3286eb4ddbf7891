"""How a kernel receives firmware's description of the CPUs: a device tree, or ACPI tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from emu.arch.boot import DRAM_BASE
from emu.case import Case
from emu.errors import InvalidCase
from emu.host import efi
from emu.host.firmware import resolve_defaults
from emu.memory import Memory
from emu.topology import Topology
from emu.topology.acpi.devices import AcpiDevices
from emu.topology.acpi.write import write_acpi
from emu.topology.devicetree.write import write_devicetree, write_stub_devicetree

DTB_SIZE = 2 << 20  # booting.rst: at most 2 MiB
TABLES_SIZE = 4 << 20  # ACPI and EFI tables


@dataclass(frozen=True, slots=True)
class DramLayout:
    """Addresses of the parts of a kernel's DRAM (PA, bytes), from low to high.

    :ivar dtb_pa: the device tree, at most DTB_SIZE, right above the image
    :ivar tables_pa: ACPI and EFI tables, at most TABLES_SIZE
    :ivar host_pa: ``host_size`` bytes for the host: mapped by the kernel and never allocated
    :ivar data_size: bytes at ``host_pa`` before the task_structs
    """

    dtb_pa: int
    tables_pa: int
    host_pa: int
    host_size: int
    data_size: int


def hand_over(memory: Memory, topology: Topology, place: DramLayout, bootargs: str) -> None:
    """Write what firmware leaves in memory for a kernel: a device tree, or a stub tree and ACPI tables.

    :raises InvalidCase: the topology or the command line does not fit
    """
    if topology.firmware == "devicetree":
        dtb = write_devicetree(
            topology,
            dram_base=memory.base,
            dram_size=memory.size,
            bootargs=bootargs,
            reserved=((place.host_pa, place.host_size),),
        )
    else:
        kept = ((place.host_pa, place.host_size),)
        dtb = hand_over_acpi(memory, topology, (place.tables_pa, TABLES_SIZE), bootargs, kept=kept)
    assert len(dtb) <= DTB_SIZE, f"a device tree of {len(dtb)} bytes"
    memory.write_bytes(place.dtb_pa, dtb)


def hand_over_acpi(
    memory: Memory,
    topology: Topology,
    place: tuple[int, int],
    bootargs: str,
    *,
    kept: Sequence[tuple[int, int]] = (),
    chosen: Mapping[str, bytes] = MappingProxyType({}),
    devices: AcpiDevices | None = None,
) -> bytes:
    """Write ACPI tables and the EFI tables that point to them; return a stub tree that points to those.

    :param place: PA and bytes for the tables, multiples of 64 KiB
    :param kept: (PA, bytes) of what else the kernel maps and never hands out
    :param chosen: further properties of /chosen
    :param devices: those of the board
    :raises InvalidCase: the topology or the command line does not fit
    """
    pa, size = place
    tables = write_acpi(topology, pa, devices=devices)
    efi_pa = (pa + len(tables.data) + efi.PAGE - 1) & -efi.PAGE
    assert efi_pa + efi.EFI_SIZE <= pa + size, "tables beyond their place"
    ranges = efi.memory_map(dram=(memory.base, memory.size), kept=(place, *kept))
    found = efi.write_efi(efi_pa, rsdp_pa=tables.rsdp_pa, ranges=ranges)
    memory.write_bytes(pa, tables.data)
    memory.write_bytes(efi_pa, found.data)
    if not any(word.startswith("acpi=") for word in bootargs.split()):
        bootargs += " acpi=force"
    return write_stub_devicetree(bootargs=bootargs, chosen={**found.chosen, **chosen})


def write_tables(topology: Topology, folder: Path) -> None:
    """Write firmware's tables for a kernel into ``folder``: ``machine.dtb``, or one file per ACPI table.

    :raises InvalidCase: the topology does not fit, or the folder cannot be written
    """
    resolved = resolve_defaults(Case("v3"), topology)
    if resolved.firmware == "devicetree":
        found = {"machine.dtb": write_devicetree(resolved, dram_base=DRAM_BASE, dram_size=1 << 30)}
    else:
        tables = write_acpi(resolved, DRAM_BASE).tables
        found = {f"{signature.lower()}.aml": data for signature, data in tables.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in found.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise InvalidCase(f"{folder}: {error.strerror}") from None
