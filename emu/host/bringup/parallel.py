"""Parallel: every present CPU to ``cpu:kick_ap``, then each one online.

Both passes go through cpu_present_mask as it is then: a CPU that clears its own bit in between is passed
over. SMT siblings wait until all primary threads are online. Source: kernel/cpu.c,
cpuhp_bringup_cpus_parallel.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from emu.host.bringup.common import bring_up_each
from emu.host.bringup.split import Split
from emu.host.cpuhp import Cpuhp
from emu.host.played import plays
from emu.operation import Load, Operation

NAME = "parallel"


class Parallel(Split):
    """Split, in two passes over all CPUs."""

    @plays("bringup_nonboot_cpus cpuhp_bringup_cpus_parallel", "kernel/cpu.c")
    def bring_up(self, cpus: Sequence[int], count: int) -> Generator[Operation, Any, None]:
        """cpuhp_bringup_cpus_parallel(): both passes for the primary threads, then for their siblings."""
        kick = self._kick
        siblings = [cpu for cpu in cpus if cpu in kick.guest.logical.siblings]
        primaries = [cpu for cpu in cpus if cpu not in kick.guest.logical.siblings]
        for group in (primaries, siblings):
            if not group or count <= 0:
                continue
            for target in (Cpuhp.CPUHP_BP_KICK_AP, Cpuhp.CPUHP_ONLINE):
                yield from bring_up_each(kick.core, group, count, target)
            for cpu in group:
                count -= yield Load(kick.guest.data.online(cpu), 1)


STRATEGY = Parallel
