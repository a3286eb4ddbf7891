"""What PEs do to the world outside of them, as the engine's owner has it done."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.engine import Recorder
from emu.cpu.pe import PE
from emu.instructions import Recorder as StepRecorder

GRANULE = 64  # exclusives reservation granule, bytes (Cortex-A72 TRM, CTR_EL0.ERG)


class Outside:
    """Callbacks of an engine (:class:`emu.cpu.engine.Engine` has their meaning), and the monitors."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.record: Recorder | None = None
        self.watched = range(0)
        self.record_store: Recorder | None = None
        self.send_event: Callable[[], None] = lambda: None
        self.access: Callable[[PE, int, int, int, bool], None] | None = None
        self.maintain: Callable[[PE, int, int], None] | None = None
        self.armed_monitors: dict[PE, int] = {}
        self.events: list[PE] = []
        self.steps: StepRecorder | None = None
        self.timed = False

    def disarm(self, pe: PE) -> None:
        """Clear the exclusive monitor of ``pe``, which is no event for it."""
        self.armed_monitors.pop(pe, None)
        pe.open_monitor()

    def store_clears_monitors(self, pa: int, size: int, writer: PE | None) -> None:
        """Clear the monitor of each PE but ``writer`` whose granule the store hits: an event for it."""
        first, last = pa & -GRANULE, (pa + size - 1) & -GRANULE
        for pe, granule in list(self.armed_monitors.items()):
            if granule in (first, last) and pe is not writer:
                pe.open_monitor()
                pe.event = True
                self.events.append(pe)
                del self.armed_monitors[pe]

    def store_clears_monitors_in(self, pas: range) -> None:
        """Clear the monitor of each PE whose granule lies in these PAs: the host stores to all of them."""
        for granule in set(self.armed_monitors.values()):
            if pas.start < granule + GRANULE and granule < pas.stop:
                self.store_clears_monitors(granule, 1, None)
