"""Threads: MT = 1, two threads in Aff0, 8 cores in Aff1, sockets in Aff2.

Thread, core and socket are described, so siblings are known. With an odd count the last core has one thread.
Source: Arm DDI 0487, MPIDR_EL1.MT; server parts with threads, such as ThunderX2 (which has 4 to a core).
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "smt"
CPUS = 32


def _cpu(index: int) -> Cpu:
    socket, in_socket = divmod(index, 16)
    core, thread = divmod(in_socket, 2)
    return Cpu(affinity(0, socket, core, thread), mt=True, socket=socket, core=core, thread=thread)


def make(cpus: int) -> Topology:
    """Return ``cpus`` threads; the two of a core are adjacent.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "256 sockets in Aff2, of 8 cores with 2 threads")
    return Topology(name, tuple(map(_cpu, range(cpus))))
