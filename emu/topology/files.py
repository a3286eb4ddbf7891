"""Topologies in files: JSON, device trees, ACPI tables, told apart by their bytes."""

from __future__ import annotations

from pathlib import Path

from emu.errors import InvalidCase
from emu.registry import not_one_of
from emu.topology import Topology
from emu.topology.acpi.read import is_acpi, is_acpi_directory, read_acpi
from emu.topology.devicetree.read import read_devicetree, read_dts
from emu.topology.json_form import parse_json
from emu.topology.presets import PRESETS

_FDT_MAGIC = b"\xd0\x0d\xfe\xed"  # Devicetree Specification v0.4, 5.2
_SIZE_MAX = 16 << 20  # bytes; far more than a table or tree of 4,096 CPUs has


def is_topology_file(path: Path) -> bool:
    """Tell whether a file or a directory looks like a topology."""
    if path.suffix in (".dts", ".dtb", ".json"):
        return True
    if path.is_dir():
        return is_acpi_directory(path)
    try:
        with path.open("rb") as file:
            data = file.read(4)
    except OSError:
        return False
    return data == _FDT_MAGIC or is_acpi(data)


def read_file(path: Path) -> Topology:
    """Return the topology that a file or a directory describes, told apart by its bytes.

    :raises InvalidCase: it cannot be read, or breaks a rule of its format
    """
    if path.is_dir():
        if not is_acpi_directory(path):
            raise InvalidCase(f"{path}: a directory without a MADT (signature APIC) in it")
        return read_acpi(path)
    if path.suffix == ".dts":
        return read_dts(path)
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_MAX + 1)
    except OSError as error:
        name = str(path).partition(":")[0]
        raise InvalidCase(
            f"topology={path}: {error.strerror}; and no preset: {not_one_of(name, PRESETS)}"
        ) from None
    if len(data) > _SIZE_MAX:
        raise InvalidCase(f"{path}: over {_SIZE_MAX} bytes: not the CPUs of a machine")
    if data.startswith(_FDT_MAGIC):
        return read_devicetree(data, str(path))
    if is_acpi(data):
        return read_acpi(path)
    if path.suffix == ".json" or data.lstrip()[:1] in (b"{", b"["):
        return parse_json(data, str(path))
    raise InvalidCase(f"{path}: neither JSON, a device tree blob, nor an ACPI MADT")
