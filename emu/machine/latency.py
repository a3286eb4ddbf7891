"""Latency profiles: what an operation costs in simulated time.

The figures are a model to order events by, not measurements of any machine; results that depend on them say
which profile was used.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.pe import Counters


@dataclass(frozen=True, slots=True)
class Latency:
    """Cost in ns of each thing a PE or a host task does."""

    instruction: int
    access: int  # on top of the instruction
    access_mmu_off: int  # on top of the access: it goes to memory
    call: int  # firmware call
    host_operation: int

    def of(self, counters: Counters) -> int:
        """Return the ns that a PE with these counters has spent executing."""
        accesses = counters.loads + counters.stores
        return (
            counters.instructions * self.instruction
            + accesses * self.access
            + counters.loads_mmu_off * self.access_mmu_off
            + counters.calls * self.call
        )


PROFILES = {
    "nominal": Latency(instruction=1, access=2, access_mmu_off=100, call=2000, host_operation=10),
    "zero": Latency(instruction=0, access=0, access_mmu_off=0, call=0, host_operation=0),
}
