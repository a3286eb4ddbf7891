"""PPTT: which CPUs share a core, a cluster and a socket.

Sources: ACPI 6.5, 5.2.30 (PPTT), 5.2.30.1 (processor hierarchy node); Linux v6.12 drivers/acpi/pptt.c and
arch/arm64/kernel/topology.c, parse_acpi_topology(), for the kernel's use of the nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from emu.errors import InvalidCase
from emu.topology.acpi.table import HEADER_SIZE, AcpiTable, check_table, make_table, structures

SIGNATURE = "PPTT"
PHYSICAL_PACKAGE = 1 << 0
ID_VALID = 1 << 1
IS_THREAD = 1 << 2
LEAF = 1 << 3
LEVELS_MAX = 32  # of the tree; longer chains of parents are loops
_REVISION = 2  # ACPI 6.3: the first with IS_THREAD and LEAF
_PROCESSOR = 0
_NODE = struct.Struct("<BBHIIII")


class CpuPosition(NamedTuple):
    """The position of a CPU in the hierarchy: each number counts from 0 within the level above."""

    socket: int
    cluster: int
    core: int
    thread: int


class _Node(NamedTuple):
    flags: int
    parent: int  # offset in the table; 0: none
    uid: int


def write_pptt(cpus: Mapping[int, CpuPosition]) -> bytes:
    """Return a PPTT with a leaf per CPU, below cores (where one has threads), clusters and sockets.

    Nodes are in the order of their numbers, so that counting them in the order of the table yields the
    numbers.

    :param cpus: position of each ACPI Processor UID (u32)
    """
    threaded = {place[:3] for place in cpus.values() if place.thread}
    nodes: list[bytes] = []
    containers: dict[tuple[int, ...], int] = {}

    def add(flags: int, parent: int, uid: int) -> int:
        nodes.append(_NODE.pack(_PROCESSOR, _NODE.size, 0, flags, parent, uid, 0))
        return HEADER_SIZE + _NODE.size * (len(nodes) - 1)

    def container(path: tuple[int, ...]) -> int:
        if path not in containers:
            package = len(path) == 1
            parent = 0 if package else container(path[:-1])
            containers[path] = add(PHYSICAL_PACKAGE if package else 0, parent, 0)
        return containers[path]

    for uid, place in sorted(cpus.items(), key=lambda item: item[1]):
        is_thread = place[:3] in threaded
        parent = container(place[:3] if is_thread else place[:2])
        add(ID_VALID | LEAF | (IS_THREAD if is_thread else 0), parent, uid)
    return make_table(SIGNATURE, _REVISION, b"".join(nodes))


def read_pptt(data: bytes, name: str) -> dict[int, CpuPosition]:
    """Return the position of each ACPI Processor UID that has a leaf, numbered in the order of the table.

    A core is a leaf, or the parent of leaves that are threads; a cluster is the parent of a core; a socket is
    the first node upwards with PHYSICAL_PACKAGE, or the root. Of two leaves with one UID the first counts.

    :param name: of the file, for errors
    :raises InvalidCase: truncated or corrupt; a structure or a parent outside it; parents in a loop
    """
    table = check_table(data, name, SIGNATURE)
    nodes = _nodes(table)
    parents = {node.parent for node in nodes.values()}
    numbers: dict[tuple[int, ...], int] = {}
    counts: dict[tuple[int, ...], int] = {}

    def number(path: tuple[int, ...]) -> int:
        # Which child of path[:-1] this is, in the order of the table.
        if path not in numbers:
            numbers[path] = counts.get(path[:-1], 0)
            counts[path[:-1]] = numbers[path] + 1
        return numbers[path]

    found: dict[int, CpuPosition] = {}
    for at, node in nodes.items():
        # Revision 1 has no LEAF flag: there a leaf is a node that is no node's parent.
        if not (node.flags & LEAF if table.revision > 1 else at not in parents) or node.uid in found:
            continue
        path = _path(table, nodes, at)
        found[node.uid] = CpuPosition(*(number(path[: level + 1]) for level in range(4)))
    return found


def _nodes(table: AcpiTable) -> dict[int, _Node]:
    found = {}
    for at, kind, length in structures(table, HEADER_SIZE, "structure"):
        if kind != _PROCESSOR:
            continue
        resources = _NODE.unpack_from(table.data, at)[6] if length >= _NODE.size else 0
        if length != _NODE.size + 4 * resources:
            raise InvalidCase(
                f"{table.name}: processor node at {at:#x} length={length}: must be 20 and 4 for each of "
                f"{resources} private resources"
            )
        _, _, _, flags, parent, uid, _ = _NODE.unpack_from(table.data, at)
        found[at] = _Node(flags, parent, uid)
    for at, node in found.items():
        if node.parent and node.parent not in found:
            raise InvalidCase(
                f"{table.name}: processor node at {at:#x} parent={node.parent:#x}: not the start of one"
            )
    return found


def _path(table: AcpiTable, nodes: Mapping[int, _Node], leaf: int) -> tuple[int, int, int, int]:
    # Offsets of the socket, cluster, core and thread of a leaf; a missing level has the offset of the level
    # above.
    chain = [leaf]
    while parent := nodes[chain[-1]].parent:
        chain.append(parent)
        if len(chain) > LEVELS_MAX:
            raise InvalidCase(
                f"{table.name}: processor node at {leaf:#x} parent={nodes[leaf].parent:#x}: more than "
                f"{LEVELS_MAX} levels above it; parents must not loop"
            )
    core = 1 if table.revision > 1 and nodes[leaf].flags & IS_THREAD and len(chain) > 1 else 0
    cluster = min(core + 1, len(chain) - 1)
    packages = (level for level, at in enumerate(chain) if nodes[at].flags & PHYSICAL_PACKAGE)
    socket = next(packages, len(chain) - 1)
    return chain[socket], chain[cluster], chain[core], chain[0]
