"""One thread to a core, yet MT = 1: Aff0 is always 0, 8 cores in Aff1, clusters in Aff2, then Aff3.

MT means that Aff0 numbers threads, not that a core has two: core and cluster are described, and no CPU has a
sibling. Keys derived from Aff0 are all equal. Source: the DynamIQ Shared Unit and its cores (Cortex-A55, A76:
MT is 1, Aff1 is the core, Aff2 and Aff3 are the cluster).
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "mt-cores"
CPUS = 8


def _cpu(index: int) -> Cpu:
    cluster, core = divmod(index, 8)
    return Cpu(affinity(cluster >> 8, cluster & 0xFF, core, 0), mt=True, cluster=cluster, core=core)


def make(cpus: int) -> Topology:
    """Return ``cpus`` cores, 8 to a cluster, 256 clusters to an Aff3.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "any count")
    return Topology(name, tuple(map(_cpu, range(cpus))))
