"""ACPI: write a topology as the tables a kernel boots from; read the tables of a machine as a topology."""

from __future__ import annotations

from emu.topology.acpi.fadt import read_fadt
from emu.topology.acpi.madt import read_madt
from emu.topology.acpi.pptt import read_pptt
from emu.topology.acpi.read import is_acpi, is_acpi_directory, read_acpi, read_tables
from emu.topology.acpi.write import AcpiTables, write_acpi

__all__ = [
    "AcpiTables",
    "is_acpi",
    "is_acpi_directory",
    "read_acpi",
    "read_fadt",
    "read_madt",
    "read_pptt",
    "read_tables",
    "write_acpi",
]
