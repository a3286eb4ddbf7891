"""cpu-map: which CPUs share a core, a cluster and a socket.

Sources: Linux v6.12 Documentation/devicetree/bindings/cpu/cpu-topology.txt; drivers/base/arch_topology.c
(parse_dt_topology).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from emu.arch.flat_tree import Node, Writer, u32
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology

_LEVELS = ("socket", "cluster", "core", "thread")
CpuMapPath = tuple[int, int, int, int]  # the numbers of _LEVELS
_NUMBERED = re.compile(rb"([a-z]+)(0|[1-9][0-9]{0,4})(?:@.*)?")
_Threads = dict[int, int]  # thread -> index into the CPUs


def phandles(topology: Topology) -> dict[int, int]:
    """Return the phandle of each CPU that has a position in the map, by the CPU's index.

    Of entries with the same position the first gets it: two nodes of one parent cannot share a name. The
    others are not in the map, like entries without a position (core -1).

    :raises InvalidCase: a number of a position is negative
    """
    return {index: number for number, index in enumerate(_places(topology).values(), 1)}


def write_cpu_map(tree: Writer, topology: Topology, handles: Mapping[int, int]) -> None:
    """Write the node cpu-map below /cpus; thread nodes only for a core with more than one thread.

    Nodes have the numbers of the topology. A kernel stops at the first missing number.
    """
    sockets: dict[int, dict[int, dict[int, _Threads]]] = {}
    for (socket, cluster, core, thread), index in sorted(_places(topology).items()):
        sockets.setdefault(socket, {}).setdefault(cluster, {}).setdefault(core, {})[thread] = index
    tree.begin("cpu-map")
    for socket, clusters in sockets.items():
        tree.begin(f"socket{socket}")
        for cluster, cores in clusters.items():
            tree.begin(f"cluster{cluster}")
            for core, threads in cores.items():
                tree.begin(f"core{core}")
                _write_core(tree, threads, handles)
                tree.end()
            tree.end()
        tree.end()
    tree.end()


def read_cpu_map(cpu_map: Node) -> dict[int, CpuMapPath]:
    """Return the position of each CPU that a node cpu-map names, by the CPU's phandle.

    The numbers are those in the nodes' names; without sockets every CPU is in socket 0, without threads a CPU
    is thread 0. The leaves of nested clusters are numbered within their socket. (The kernel supports one
    level: it numbers them within their parents, and takes cores with equal numbers for one core.)

    Nodes that the binding does not allow (cores outside a cluster, or beside clusters) are ignored.
    """
    places: dict[int, CpuMapPath] = {}
    for socket, socket_node in (_numbered(cpu_map, b"socket") or {0: cpu_map}).items():
        for cluster, cluster_node in _clusters(socket_node).items():
            for core, core_node in _numbered(cluster_node, b"core").items():
                for thread, leaf in (_numbered(core_node, b"thread") or {0: core_node}).items():
                    handle = leaf.cell(b"cpu")
                    if handle is not None:
                        places.setdefault(handle, (socket, cluster, core, thread))
    return places


def _clusters(socket: Node) -> dict[int, Node]:
    # The clusters with cores of a socket, by number.
    clusters = _numbered(socket, b"cluster")
    if not any(_numbered(cluster, b"cluster") for cluster in clusters.values()):
        return clusters
    return dict(enumerate(leaf for cluster in clusters.values() for leaf in _leaves(cluster)))


def _leaves(cluster: Node) -> list[Node]:
    # Recursion is as deep as the tree, whose depth parse() bounds.
    inner = _numbered(cluster, b"cluster")
    return [leaf for node in inner.values() for leaf in _leaves(node)] if inner else [cluster]


def _numbered(node: Node, level: bytes) -> dict[int, Node]:
    # Children LEVEL0, LEVEL1, ... in the order of their numbers; of two with one name the first.
    found: dict[int, Node] = {}
    for child in node.children:
        match = _NUMBERED.fullmatch(child.name)
        if match and match[1] == level:
            found.setdefault(int(match[2]), child)
    return dict(sorted(found.items()))


def _write_core(tree: Writer, threads: _Threads, handles: Mapping[int, int]) -> None:
    if list(threads) == [0]:
        tree.prop("cpu", u32(handles[threads[0]]))
        return
    for thread, index in threads.items():
        tree.begin(f"thread{thread}")
        tree.prop("cpu", u32(handles[index]))
        tree.end()


def _places(topology: Topology) -> dict[CpuMapPath, int]:
    # Index of the CPU at each position, in firmware's order.
    places: dict[CpuMapPath, int] = {}
    for index, cpu in enumerate(topology.cpus):
        if cpu.core >= 0:
            places.setdefault(_place(cpu, index), index)
    return places


def _place(cpu: Cpu, index: int) -> CpuMapPath:
    place = (cpu.socket, cpu.cluster, cpu.core, cpu.thread)
    for level, number in zip(_LEVELS, place, strict=True):
        if number < 0:
            raise InvalidCase(f"cpus[{index}].{level}={number}: nodes of cpu-map count from 0")
    return place
