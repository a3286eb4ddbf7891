"""cpu-map: which CPUs share a core, a cluster and a socket.

Sources: Linux v6.12 Documentation/devicetree/bindings/cpu/cpu-topology.txt; drivers/base/arch_topology.c
(parse_dt_topology).
"""

from __future__ import annotations

from collections.abc import Mapping

from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.devicetree.flat import Writer, u32

_LEVELS = ("socket", "cluster", "core", "thread")
Place = tuple[int, int, int, int]  # the numbers of _LEVELS
_Threads = dict[int, int]  # thread -> index into the CPUs


def phandles(topology: Topology) -> dict[int, int]:
    """Return the phandle of each CPU that has a place in the map, by its index.

    Of entries that claim one place the first has it: two nodes of one parent cannot share a name. The rest
    stand in no map, like entries that firmware says nothing of (core -1).

    :raises InvalidCase: a number of a place is negative
    """
    return {index: number for number, index in enumerate(_places(topology).values(), 1)}


def write_cpu_map(tree: Writer, topology: Topology, handles: Mapping[int, int]) -> None:
    """Write the node cpu-map below /cpus; threads only for a core of more than one.

    Nodes have the numbers of the topology. A kernel stops at the first number that is missing.
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


def _write_core(tree: Writer, threads: _Threads, handles: Mapping[int, int]) -> None:
    if list(threads) == [0]:
        tree.prop("cpu", u32(handles[threads[0]]))
        return
    for thread, index in threads.items():
        tree.begin(f"thread{thread}")
        tree.prop("cpu", u32(handles[index]))
        tree.end()


def _places(topology: Topology) -> dict[Place, int]:
    # Index of the CPU at each place, in firmware's order.
    places: dict[Place, int] = {}
    for index, cpu in enumerate(topology.cpus):
        if cpu.core >= 0:
            places.setdefault(_place(cpu, index), index)
    return places


def _place(cpu: Cpu, index: int) -> Place:
    place = (cpu.socket, cpu.cluster, cpu.core, cpu.thread)
    for level, number in zip(_LEVELS, place, strict=True):
        if number < 0:
            raise InvalidCase(f"cpus[{index}].{level}={number}: nodes of cpu-map count from 0")
    return place
