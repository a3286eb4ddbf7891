"""Two levels of clusters: 4 cores in Aff0, 4 clusters in Aff1, groups of clusters in Aff2.

Core and cluster are described (cpu-map or PPTT), each core with one thread. Most of the numbers between two
hwids belong to no CPU. Source: the multi-cluster machines with Cortex-A53, A57 and A72, 4 cores to a cluster;
Linux v6.12 Documentation/devicetree/bindings/cpu/cpu-topology.txt for nested clusters.
"""

from __future__ import annotations

from emu.arch.mpidr import affinity
from emu.topology import Cpu, Topology
from emu.topology.presets import check_shape

NAME = "clusters"
CPUS = 32


def _cpu(index: int) -> Cpu:
    cluster, core = divmod(index, 4)
    group, cluster_in_group = divmod(cluster, 4)
    return Cpu(affinity(0, group, cluster_in_group, core), cluster=cluster, core=core)


def make(cpus: int) -> Topology:
    """Return ``cpus`` CPUs, 4 to a cluster, 4 clusters to a group.

    :raises InvalidCase: not 1..4096
    """
    name = check_shape(cpus, NAME, "256 groups in Aff2, of 4 clusters with 4 cores")
    return Topology(name, tuple(map(_cpu, range(cpus))))
