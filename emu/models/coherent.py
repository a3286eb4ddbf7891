"""Coherent memory: each load returns the latest store of any CPU, and nothing happens by itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType

from emu.memory import Memory
from emu.models.protocol import Changed, ExploredMemory, Loaded, MachineMemory, Note, NoteSink
from emu.operation import Access, Kind, Operation

NAME = "coherent"


class Coherent:
    """Memory alone: no unit has a state."""

    name = NAME
    granules: tuple[int, ...] = ()
    choices: Mapping[str, str] = {}
    records: frozenset[Kind] = frozenset()
    uses_attributes = False

    def maintains(self, word: int) -> bool:
        """Return False: memory needs no maintenance."""
        return False

    def cleans(self, word: int) -> bool:
        """Return False."""
        return False

    def completes(self, word: int) -> bool:
        """Return False: there is none."""
        return False

    def units(self, operations: Iterable[Operation], granule: int) -> list[int]:
        """Return none."""
        return []

    def explored(self, units: Sequence[int], granule: int) -> ExploredMemory:
        """Return the model of no unit."""
        assert not units, "every access is one to plain memory"
        return _NoUnits()

    def on_machine(self, memory: Memory, granule: int, note: NoteSink) -> MachineMemory | None:
        """Return None: the engine's memory is the model."""
        return None


class _NoUnits:
    # No access gets here: none lies in a unit.

    units: Sequence[int] = ()
    granule = 64

    def initial(
        self, read: Callable[[int, int], bytes], behind: Mapping[int, bytes] = MappingProxyType({})
    ) -> Hashable:
        return ()

    def loads(self, state: Hashable, cpu: int, access: Access) -> tuple[Loaded, ...]:
        raise AssertionError(f"{access.pa:#x} lies in no unit")

    def store(self, state: Hashable, cpu: int, access: Access) -> Changed:
        raise AssertionError(f"{access.pa:#x} lies in no unit")

    def barrier(self, state: Hashable, cpu: int, word: int) -> Changed:
        return Changed(state)

    def maintain(self, state: Hashable, cpu: int, word: int, pa: int, *, delayed: bool) -> Changed:
        return Changed(state)

    def elapse(self, state: Hashable) -> Changed:
        return Changed(state)

    def choices(self, state: Hashable, unit: int) -> tuple[str, ...]:
        return ()

    def choose(self, state: Hashable, unit: int, letter: str) -> Changed:
        raise AssertionError(f"{letter}: there is no unit {unit}")

    def at_end(self, state: Hashable) -> tuple[Note, ...]:
        return ()

    def seen(self, state: Hashable, cpu: int, unit: int, cacheable: bool) -> bytes:
        raise AssertionError(f"there is no unit {unit}")

    def describe(self, before: Hashable, after: Hashable, unit: int) -> str:
        raise AssertionError(f"there is no unit {unit}")


MODEL = Coherent()
