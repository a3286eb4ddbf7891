"""Latency profiles: what an operation, and each part of a bring-up, costs in simulated time.

The figures are a model to order events by, not measurements of any machine; results that depend on them say
which profile was used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from emu.cpu.pe import Counters

PRIMARY, SIBLING = "primary", "sibling"  # roles: the first thread of its core that the kernel counts; others


class Span(NamedTuple):
    """A time in ns: each CPU draws its own from ``low`` to ``high``, both included."""

    low: int
    high: int


class CpuCosts(NamedTuple):
    """What one CPU's bring-up costs besides the operations that emu runs, each in ns.

    :ivar prepare: the boot CPU's callbacks before the kick: it allocates, initialises and creates threads
    :ivar alive: from the kick to the CPU's first instruction; so long its CPU_ON is pending
    :ivar before_alive: what the CPU does in C before it says that it is alive
    :ivar atomic: the atomic step behind the alive sync, which the boot CPU waits for
    :ivar online: the CPU's threaded callbacks to CPUHP_ONLINE, which the boot CPU waits for
    """

    prepare: int = 0
    alive: int = 0
    before_alive: int = 0
    atomic: int = 0
    online: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """Costs of some CPUs, which replace those of the rules before.

    :ivar of: ``"all"``, a role, or the CPUs by their logical numbers
    """

    of: str | frozenset[int]
    spans: tuple[tuple[str, Span], ...]

    def fits(self, cpu: int, role: str) -> bool:
        """Tell whether it is about ``cpu``."""
        return cpu in self.of if isinstance(self.of, frozenset) else self.of in ("all", role)


@dataclass(frozen=True, slots=True)
class Latency:
    """A profile: the cost in ns of each thing that a PE, a host task or firmware does.

    :ivar access: on top of the instruction
    :ivar access_mmu_off: on top of the access: it goes to memory
    :ivar call: a firmware call
    :ivar host_operation: an operation of a host task
    :ivar sleep: to go to sleep and be woken, where the kernel waits for a completion that is not there yet
    :ivar sleep_timed: on top of that for a wait with a time-out, which sets a timer and cancels it
    :ivar lock: what a CPU_ON, and the CPU that it starts, wait for each other CPU that is on its way to C
    :ivar rules: of the costs per CPU
    :ivar seed: of what is drawn
    :ivar sources: where each figure is from, by its key in the file
    """

    name: str = "nominal"
    summary: str = "an order of magnitude for each operation; a bring-up costs what its operations cost"
    instruction: int = 1
    access: int = 2
    access_mmu_off: int = 100
    call: int = 2000
    host_operation: int = 10
    sleep: int = 0
    sleep_timed: int = 0
    lock: int = 0
    rules: tuple[Rule, ...] = ()
    seed: int = 0
    sources: tuple[tuple[str, str], ...] = ()

    def of(self, counters: Counters) -> int:
        """Return the ns that a PE with these counters has spent executing."""
        accesses = counters.loads + counters.stores
        return (
            counters.instructions * self.instruction
            + accesses * self.access
            + counters.loads_mmu_off * self.access_mmu_off
            + counters.calls * self.call
        )

    @property
    def draws(self) -> bool:
        """Whether a CPU draws any of its costs, so that the seed matters."""
        return any(span.low != span.high for rule in self.rules for _, span in rule.spans)

    def costs(self, cpus: int, siblings: Collection[int]) -> defaultdict[int, CpuCosts]:
        """Return the costs of logical CPUs 0 to ``cpus`` - 1 by number; any other costs nothing.

        :param siblings: CPUs that are not the first thread of their core
        """
        found: defaultdict[int, CpuCosts] = defaultdict(CpuCosts)
        for cpu in range(cpus) if self.rules else ():
            found[cpu] = self._costs_of(cpu, SIBLING if cpu in siblings else PRIMARY)
        return found

    def _costs_of(self, cpu: int, role: str) -> CpuCosts:
        spans = {key: span for rule in self.rules if rule.fits(cpu, role) for key, span in rule.spans}
        return CpuCosts(**{key: self._drawn(cpu, key, span) for key, span in spans.items()})

    def _drawn(self, cpu: int, key: str, span: Span) -> int:
        if span.low == span.high:
            return span.low
        return Random(f"{self.seed}/{cpu}/{key}").randint(*span)


NOMINAL = Latency()
ZERO = Latency(
    name="zero",
    summary="nothing takes time",
    instruction=0,
    access=0,
    access_mmu_off=0,
    call=0,
    host_operation=0,
)
