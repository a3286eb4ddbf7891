"""Caches that are coherent among CPUs whose caches are on, and that all other accesses go past.

:mod:`emu.models.caches.lines` says what each access and operation makes of one line; the other two modules
hold the lines of an exploration, and those of a machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emu.memory import Memory
from emu.models.caches.explored import ExploredCaches, mixed_lines
from emu.models.caches.lines import GRANULES, Choice, cleans, completes, is_by_va
from emu.models.caches.machine import Domain
from emu.models.protocol import ExploredMemory, MachineMemory, NoteSink
from emu.operation import Kind, Operation

NAME = "caches"


class Caches:
    """One coherent domain with at most one copy of each line."""

    name = NAME
    granules = GRANULES
    choices = {
        Choice.WRITE_BACK.value: "the caches write {} back",
        Choice.DROP.value: "the caches drop {}",
        Choice.FILL.value: "the caches fill {}",
        Choice.MAINTAIN.value: "maintenance of {} takes effect",
    }
    records = frozenset({Kind.STALE, Kind.LOST, Kind.LINE})
    uses_attributes = True

    def maintains(self, word: int) -> bool:
        """Tell whether the instruction acts on data, to the Point of Coherency."""
        return is_by_va(word)

    def cleans(self, word: int) -> bool:
        """Tell whether the instruction writes a dirty line back."""
        return cleans(word)

    def completes(self, word: int) -> bool:
        """Tell whether the instruction is a DSB or DMB of loads and stores."""
        return completes(word)

    def units(self, operations: Iterable[Operation], granule: int) -> list[int]:
        """Return the lines that are accessed both as cacheable and past the caches."""
        return mixed_lines(operations, granule)

    def explored(self, units: Sequence[int], granule: int) -> ExploredMemory:
        """Return these lines, for an exploration."""
        return ExploredCaches(units, granule)

    def on_machine(self, memory: Memory, granule: int, note: NoteSink) -> MachineMemory | None:
        """Return all lines of a machine's memory."""
        return Domain(memory, granule, note)


MODEL = Caches()
