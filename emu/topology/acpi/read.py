"""ACPI tables of a machine as a topology: a MADT alone, or a directory of tables.

A directory is /sys/firmware/acpi/tables or a copy of it, or the output of ``acpidump -b`` or iasl. Files are
recognised by their signature, not by name. MADT, FADT and PPTT are read, others are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.acpi import fadt, madt, pptt
from emu.topology.acpi.fadt import Fadt, read_fadt
from emu.topology.acpi.madt import ENABLED, ONLINE_CAPABLE, Gicc, read_madt
from emu.topology.acpi.pptt import CpuPosition, read_pptt
from emu.topology.acpi.table import TABLE_SIZE_MAX

_SIGNATURES = tuple(signature.encode() for signature in (madt.SIGNATURE, fadt.SIGNATURE, pptt.SIGNATURE))


def is_acpi(data: bytes) -> bool:
    """Tell whether a file that begins with these bytes (at least 4) is one of the tables read here."""
    return data[:4] in _SIGNATURES


def is_acpi_directory(path: Path) -> bool:
    """Tell whether this directory contains one of the tables that are read here.

    :raises InvalidCase: it cannot be read
    """
    return any(is_acpi(_read(file, 4)) for file in _files(path))


def read_acpi(path: Path) -> Topology:
    """Return the CPUs of a MADT, with the FADT and PPTT beside it when ``path`` is a directory.

    The boot CPU is the first that is enabled, because no table names it. A CPU without a leaf in the PPTT,
    and every CPU without a PPTT, has core -1. Without a FADT the topology has no conduit.

    :param path: a file that is a MADT, or a directory with one
    :raises InvalidCase: cannot be read, is corrupt, or the kernel would refuse it
    """
    if not path.is_dir():
        return read_tables(str(path), {madt.SIGNATURE: (str(path), _read(path, TABLE_SIZE_MAX + 1))})
    tables: dict[str, tuple[str, bytes]] = {}
    for file in _files(path):
        signature = _read(file, 4)
        if not is_acpi(signature):
            continue
        first = tables.setdefault(signature.decode(), (str(file), _read(file, TABLE_SIZE_MAX + 1)))
        if first[0] != str(file):
            raise InvalidCase(f"{file}: signature={signature.decode()}: {first[0]} is one too; leave one")
    if madt.SIGNATURE not in tables:
        raise InvalidCase(f"{path}: signature={madt.SIGNATURE}: no file with it; a machine has a MADT")
    return read_tables(str(path), tables)


def read_tables(name: str, tables: dict[str, tuple[str, bytes]]) -> Topology:
    """Return the topology of tables in memory.

    :param name: of the topology
    :param tables: by signature, name for errors and bytes; APIC must be there, FACP and PPTT may
    :raises InvalidCase: one is corrupt, or the kernel would refuse it
    """
    for file, data in tables.values():
        if len(data) > TABLE_SIZE_MAX:
            raise InvalidCase(f"{file}: size={len(data)}: a table here has at most {TABLE_SIZE_MAX} bytes")
    file, data = tables[madt.SIGNATURE]
    giccs = read_madt(data, file)
    firmware, places = Fadt(False, ""), dict[int, CpuPosition]()
    if fadt.SIGNATURE in tables:
        file, data = tables[fadt.SIGNATURE]
        firmware = read_fadt(data, file)
    if pptt.SIGNATURE in tables:
        file, data = tables[pptt.SIGNATURE]
        places = read_pptt(data, file)
    cpus = tuple(_cpu(gicc, firmware, places.get(gicc.uid)) for gicc in giccs)
    boot_cpu = next((index for index, cpu in enumerate(cpus) if cpu.enabled), 0)
    return Topology(name, cpus, boot_cpu, conduit=firmware.conduit, firmware="acpi")


def _cpu(gicc: Gicc, firmware: Fadt, place: CpuPosition | None) -> Cpu:
    parking = gicc.parked_address and gicc.parking_version
    method = "psci" if firmware.psci else "parking-protocol" if parking else ""
    socket, cluster, core, thread = place or CpuPosition(0, 0, -1, 0)
    return Cpu(
        hwid=gicc.mpidr,
        enabled=bool(gicc.flags & ENABLED),
        online_capable=bool(gicc.flags & ONLINE_CAPABLE),
        enable_method=method,
        release_addr=gicc.parked_address,
        parking_version=gicc.parking_version,
        uid=gicc.uid,
        interface=gicc.interface,
        socket=socket,
        cluster=cluster,
        core=core,
        thread=thread,
    )


def _files(path: Path) -> Iterator[Path]:
    # Regular files of a directory, by name; sysfs has directories beside the tables.
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise InvalidCase(f"{path}: cannot be read: {error.strerror}") from error
    return (path / name for name in names if (path / name).is_file())


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InvalidCase(f"{path}: cannot be read: {error.strerror}") from error
