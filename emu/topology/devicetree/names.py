"""Names of the nodes of CPUs."""

from __future__ import annotations

from emu.topology import Topology


def node_names(topology: Topology) -> list[str]:
    """Return the name of each CPU's node below /cpus, as the kernel's messages have them.

    ``cpu.node`` verbatim when given, else ``cpu@<hwid>``; when another node has that name,
    ``cpu@<hwid>,<index>``, because names within a parent are unique.
    """
    taken = {cpu.node for cpu in topology.cpus}
    names = []
    for index, cpu in enumerate(topology.cpus):
        name = cpu.node or f"cpu@{cpu.hwid:x}"
        while not cpu.node and name in taken:
            name += f",{index}"
        taken.add(name)
        names.append(name)
    return names
