"""What smp_init_cpus() makes of firmware's list: the CPUs by logical number."""

from __future__ import annotations

from dataclasses import dataclass

from emu.topology import Cpu


@dataclass(frozen=True, slots=True)
class LogicalMap:
    """The CPUs by logical number.

    :ivar cpus: entry i is logical CPU i, None a hole; CPUs from ``nr_cpu_ids`` on are mapped but not possible
    :ivar hwids: of each as mapped, before any is refused; INVALID_HWID for a hole
    :ivar siblings: the CPUs that are not the first thread of their core
    :ivar cpu_logical_map: __cpu_logical_map[] in the end, u64 each; INVALID_HWID for holes and refused CPUs
    :ivar possible: cpu_possible_mask
    :ivar count: cpu_count, what firmware's list would take
    :ivar messages: what the kernel says, in order
    """

    cpus: tuple[Cpu | None, ...]
    hwids: tuple[int, ...]
    siblings: frozenset[int]
    cpu_logical_map: tuple[int, ...]
    possible: frozenset[int]
    count: int
    messages: tuple[str, ...]

    @property
    def disabled(self) -> set[int]:
        """The secondaries that firmware has not enabled, as it says at boot."""
        return {cpu for cpu in self.possible if cpu and (found := self.cpus[cpu]) and not found.enabled}
