"""The kernel's C-side variables that the host plays, in guest memory: shared words, so accesses are
operations.
"""

from __future__ import annotations

from dataclasses import dataclass

PER_CPU = 128  # bytes a CPU: a writeback granule for its words, one for what firmware looks at
GLOBALS = 64


@dataclass(frozen=True, slots=True)
class HostData:
    """Where the words lie (PA). Per CPU: bytes ``online``, ``present`` and ``enabled``, u32 for the rest."""

    base_pa: int

    @staticmethod
    def size(cpus: int) -> int:
        """Return the bytes that ``cpus`` CPUs need."""
        return GLOBALS + PER_CPU * cpus

    @property
    def cpu_running(self) -> int:
        """u32: the completion ``cpu_running`` (arch/arm64/kernel/smp.c)."""
        return self.base_pa

    @property
    def stuck(self) -> int:
        """u32: ``cpus_stuck_in_kernel``."""
        return self.base_pa + 4

    def _of(self, cpu: int, offset: int) -> int:
        return self.base_pa + GLOBALS + PER_CPU * cpu + offset

    def release(self, cpu: int) -> int:
        """u64: ``cpu-release-addr`` of spin-table, which firmware reads with its MMU off."""
        return self._of(cpu, 96)

    def mailbox(self, cpu: int) -> int:
        """16 bytes: the parking protocol's mailbox. MODEL: not a 4 KiB page of Device memory of its own."""
        return self._of(cpu, 64)

    def online(self, cpu: int) -> int:
        """u8: the CPU's bit of cpu_online_mask."""
        return self._of(cpu, 8)

    def present(self, cpu: int) -> int:
        """u8: the CPU's bit of cpu_present_mask."""
        return self._of(cpu, 9)

    def enabled(self, cpu: int) -> int:
        """u8: the CPU's bit of cpu_enabled_mask: it is registered with the driver core."""
        return self._of(cpu, 10)

    def sync_state(self, cpu: int) -> int:
        """u32: cpuhp_state.ap_sync_state."""
        return self._of(cpu, 12)

    def request(self, cpu: int) -> int:
        """u32: what the BP asks of the AP's hotplug thread, a CPUHP state + 1, or 0."""
        return self._of(cpu, 16)

    def done(self, cpu: int) -> int:
        """u32: the AP's answer: 1 + (errno negated), or 0 while there is none."""
        return self._of(cpu, 20)

    def rcu(self, cpu: int) -> int:
        """u32: 1 while the CPU holds up RCU grace periods: from "CPU starting" to its first idle."""
        return self._of(cpu, 24)
