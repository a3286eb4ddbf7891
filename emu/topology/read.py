"""Read a topology by name, or from a file (:mod:`emu.topology.files`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emu.errors import InvalidCase
from emu.topology import Topology
from emu.topology.presets import get_preset, is_preset


def read_topology(text: str, boot_cpu: int = -1) -> Topology:
    """Return the topology called ``text``: a preset (``NAME`` or ``NAME:N``), or a file.

    A file is JSON, a device tree (``.dtb``, or ``.dts`` compiled by dtc), a MADT, or a directory of ACPI
    tables.

    :param boot_cpu: index of the CPU that boots; -1: the topology's own boot CPU
    :raises InvalidCase: neither a preset nor a file, or a file that breaks a rule
    """
    if not text:
        raise InvalidCase("topology='': a preset or a file")
    topology = get_preset(text) if is_preset(text) else _read_file(text)
    return replace(topology, boot_cpu=boot_cpu) if boot_cpu >= 0 else topology


def is_topology(text: str) -> bool:
    """Tell whether ``text`` names a preset, or a file or directory that looks like a topology."""
    from emu.topology.files import is_topology_file

    return bool(text) and (is_preset(text) or is_topology_file(Path(text)))


def topology_files(path: Path) -> list[Path]:
    """Return the files that :func:`read_topology` reads for ``path``, in a fixed order."""
    return sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]


def _read_file(text: str) -> Topology:
    from emu.topology.files import read_file  # the readers, which presets need not pay for

    return read_file(Path(text))
