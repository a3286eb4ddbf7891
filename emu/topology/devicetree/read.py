"""The CPUs of a device tree, read as Linux reads them.

Sources: Linux v6.12 drivers/of/base.c (of_get_next_cpu_node), drivers/of/cpu.c (of_get_cpu_hwid),
drivers/firmware/psci/psci.c (psci_dt_init), arch/arm64/kernel/cpu_ops.c and smp_spin_table.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from emu.arch.boot import NR_CPUS_MAX
from emu.arch.flat_tree import Node, parse
from emu.arch.mpidr import INVALID_HWID
from emu.errors import InvalidCase
from emu.topology import CONDUITS, Cpu, Topology
from emu.topology.devicetree.cpu_map import read_cpu_map

_PSCI = frozenset((b"arm,psci", b"arm,psci-0.2", b"arm,psci-1.0"))
_AVAILABLE = (None, b"okay", b"ok")


def read_devicetree(data: bytes, name: str) -> Topology:
    """Return the topology that a device tree blob (.dtb) describes.

    The entries are the children of /cpus with the name or the device_type "cpu" whose status is not "fail".
    The boot CPU is the first of them whose hwid has the header's ``boot_cpuid_phys`` as its low half, else
    entry 0. A tree has no MIDRs: every PE has the default one.

    Without ``reg``, or with a short one, a hwid is all ones. ``cpu-release-addr`` may have one cell, which
    Linux refuses on arm64. An empty enable-method counts as none. A conduit that Linux does not know, or of a
    disabled node, is ignored.

    :param name: prefix of every error
    :raises InvalidCase: a corrupt blob, no CPU or more than 4,096, or a text value that is not text
    """
    blob = parse(data, name)
    node = blob.root.child(b"cpus")
    found = [child for child in node.children if _is_cpu(child)] if node else []
    if node is None or not found:
        raise InvalidCase(f"{name}: /cpus: no CPU; where ACPI describes them, pass its tables")
    if len(found) > NR_CPUS_MAX:
        raise InvalidCase(f"{name}: /cpus: {len(found)} CPUs: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")
    cells = _address_cells(blob.root, node, name)
    cpus = _with_places(node, found, [_cpu(child, cells, f"{name}: /cpus") for child in found])
    boot = (index for index, cpu in enumerate(cpus) if cpu.hwid & 0xFFFF_FFFF == blob.boot_cpuid_phys)
    return Topology(name, tuple(cpus), next(boot, 0), _conduit(blob.root), firmware="devicetree")


def read_dts(path: Path) -> Topology:
    """Return the topology that a device tree source (.dts) describes, compiled by dtc.

    A source does not name the boot CPU: dtc uses the first child of /cpus when its ``reg`` has one cell, else
    hwid 0.

    :raises InvalidCase: the errors of :func:`compile_dts` and :func:`read_devicetree`
    """
    return read_devicetree(compile_dts(path), str(path))


def compile_dts(path: Path) -> bytes:
    """Return the blob that dtc makes of a source.

    :raises InvalidCase: dtc is not installed or refuses the source
    """
    if not path.is_file():
        raise InvalidCase(f"{path}: must be a file")
    import shutil  # here, because no other input needs a program
    import subprocess

    dtc = shutil.which("dtc")
    if dtc is None:
        raise InvalidCase(f"{path}: dtc is missing: apt-get install device-tree-compiler, or pass a .dtb")
    command = [dtc, "-q", "-I", "dts", "-O", "dtb", str(path.absolute())]
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = done.stderr.decode(errors="replace").splitlines() or [f"status {done.returncode}"]
        raise InvalidCase(f"{path}: dtc: {said[0]}; of a source that needs cpp (#include) pass the .dtb")
    return done.stdout


def _is_cpu(node: Node) -> bool:
    status = node.text(b"status") or b""
    if status == b"fail" or status.startswith(b"fail-"):
        return False
    return node.name.partition(b"@")[0] == b"cpu" or node.text(b"device_type") == b"cpu"


def _address_cells(root: Node, cpus: Node, name: str) -> int:
    # of_n_addr_cells(): from the nearest parent that has the property; 1 when none has.
    found = (node.cell(b"#address-cells") for node in (cpus, root))
    cells = next((cells for cells in found if cells is not None), 1)
    if cells not in (1, 2):
        raise InvalidCase(f"{name}: /cpus: #address-cells={cells}: must be 1 or 2 (arm/cpus.yaml)")
    return cells


def _cpu(node: Node, cells: int, parent: str) -> Cpu:
    name = node.name.decode("latin-1")
    if not name.isascii() or not name.isprintable() or "/" in name:
        raise InvalidCase(f"{parent}: node={name[:60]!a}: must be printable ASCII without '/'")
    reg = node.props.get(b"reg", b"")
    method = node.props.get(b"enable-method", b"\0").decode("latin-1")
    text, end, _ = method.partition("\0")
    if not end or not text.isascii() or not text.isprintable():
        raise InvalidCase(
            f"{parent}/{name}: enable-method={method[:60]!a}: must be printable ASCII with a NUL"
        )
    return Cpu(
        hwid=int.from_bytes(reg[: 4 * cells], "big") if len(reg) >= 4 * cells else INVALID_HWID,
        enable_method=text,
        release_addr=_release_addr(node.props.get(b"cpu-release-addr", b"")),
        node=name,
    )


def _release_addr(value: bytes) -> int:
    if len(value) >= 8:
        return int.from_bytes(value[:8], "big")
    return int.from_bytes(value, "big") if len(value) == 4 else 0


def _with_places(cpus: Node, found: list[Node], entries: list[Cpu]) -> list[Cpu]:
    # The entries with their positions in cpu-map; a CPU that it does not name keeps core -1.
    cpu_map = next((child for child in cpus.children if child.name.partition(b"@")[0] == b"cpu-map"), None)
    places = read_cpu_map(cpu_map) if cpu_map else {}
    for index, node in enumerate(found):
        handle = node.cell(b"phandle") or node.cell(b"linux,phandle")
        place = places.pop(handle, None) if handle else None
        if place:
            socket, cluster, core, thread = place
            entries[index] = replace(entries[index], socket=socket, cluster=cluster, core=core, thread=thread)
    return entries


def _conduit(root: Node) -> str:
    for node in _walk(root):
        if any(name.lower() in _PSCI for name in node.props.get(b"compatible", b"").split(b"\0")):
            method = (node.text(b"method") or b"").decode("latin-1")
            return method if method in CONDUITS and node.text(b"status") in _AVAILABLE else ""
    return ""


def _walk(root: Node) -> Iterator[Node]:
    # All nodes in the blob's order.
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)
