"""Whether a look-up that has run for longer than is expected comes to no exit: proved, where that can be."""

from __future__ import annotations

from collections.abc import Hashable

from emu.cpu.engine import Engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.memory import Memory
from emu.operation import STORES, Kind

FIRST = 300  # instructions before the first look, where one is worth its time
_AHEAD_MAX = (1 << 7, 1 << 10)  # instructions of a short look, and of a long one: one at a time


class _Around(LocalInterconnect):
    # What is around a look-up that is run ahead (emu.cpu.loops.LookAhead). A store is an act.

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.acts = False
        self.alone, self.interrupts = True, False
        self.ticks_max = 0
        self._memory = memory
        self._overwritten: list[tuple[int, bytes]] = []

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Keep what a store overwrites: it is an act."""
        if kind in STORES and self._memory.contains(pa, size):
            self._overwritten.append((pa, self._memory.read_bytes(pa, size)))
            self.acts = True

    def undo(self) -> None:
        """Restore memory to its content before the stores."""
        for pa, data in reversed(self._overwritten):
            self._memory.write_bytes(pa, data)

    def call(self, pe: PE, conduit: str) -> int | None:
        """Give no answer: there is no firmware."""
        return None

    def passes(self, va: int) -> bool:
        """Stop at every exit."""
        return False

    def sleeps(self, pe: PE) -> bool:
        """It does not: that ends it."""
        return False

    def state(self) -> Hashable:
        """Return the event register and the monitor."""
        return self.system


def goes_on(engine: Engine, memory: Memory, pe: PE, instructions: int) -> bool:
    """Tell whether it is proved that ``pe`` goes on for so many instructions from here, and comes to no exit.

    The engine observes its accesses after it.
    """
    engine.observe(record=True)
    for ahead in _AHEAD_MAX:
        around = _Around(memory)
        loops = engine.run_ahead([pe], around, ahead, instructions)
        around.undo()
        if loops is not None:
            return loops[0].raised is None
    return False
