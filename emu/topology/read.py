"""Read a topology by name or file: presets, JSON, device trees, ACPI tables, told apart by their bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emu.errors import InvalidCase
from emu.registry import not_one_of
from emu.topology import Topology
from emu.topology.acpi import is_acpi, is_acpi_directory, read_acpi
from emu.topology.devicetree import read_devicetree, read_dts
from emu.topology.json_form import parse_json
from emu.topology.presets import PRESETS, get_preset, is_preset

_FDT_MAGIC = b"\xd0\x0d\xfe\xed"  # Devicetree Specification v0.4, 5.2
_SIZE_MAX = 16 << 20  # bytes; far more than a table or tree of 4,096 CPUs has


def read_topology(text: str, boot_cpu: int = -1) -> Topology:
    """Return the topology called ``text``: a preset (``NAME`` or ``NAME:N``), or a file.

    A file is JSON, a device tree (``.dtb``, or ``.dts`` compiled by dtc), a MADT, or a directory of ACPI
    tables.

    :param boot_cpu: index of the CPU that boots; -1: the topology's own boot CPU
    :raises InvalidCase: neither a preset nor a file, or a file that breaks a rule
    """
    if not text:
        raise InvalidCase("topology='': a preset or a file")
    topology = get_preset(text) if is_preset(text) else _read_file(Path(text))
    return replace(topology, boot_cpu=boot_cpu) if boot_cpu >= 0 else topology


def is_topology(text: str) -> bool:
    """Tell whether ``text`` names a preset, or a file or directory that looks like a topology."""
    path = Path(text)
    if not text:
        return False
    if is_preset(text) or path.suffix in (".dts", ".dtb", ".json"):
        return True
    if path.is_dir():
        return is_acpi_directory(path)
    try:
        with path.open("rb") as file:
            data = file.read(4)
    except OSError:
        return False
    return data == _FDT_MAGIC or is_acpi(data)


def topology_files(path: Path) -> list[Path]:
    """Return the files that :func:`read_topology` reads for ``path``, in a fixed order."""
    return sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]


def _read_file(path: Path) -> Topology:
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
