"""Sockets or dies in Aff3, 16 cores in each: 4 clusters in Aff1 of 4 cores in Aff0.

The hwids of all but the first socket do not fit 32 bits. Socket, cluster and core are described. Source: Arm
DDI 0487, MPIDR_EL1.Aff3, which AArch32 does not have; two-socket servers.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "sockets"
CPUS = 32


def _cpu(index: int) -> Cpu:
    socket, in_socket = divmod(index, 16)
    cluster, core = divmod(in_socket, 4)
    return Cpu(affinity(socket, 0, cluster, core), socket=socket, cluster=cluster, core=core)


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 16 to a socket.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "256 sockets in Aff3, of 16 cores")
    return Topology(name, tuple(map(_cpu, range(cpus))))
