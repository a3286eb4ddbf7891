"""What of a PE's doings the interconnect is told."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE
from emu.operation import Kind

Record = Callable[[PE, Kind, int, int, int, int], None]


class Observing:
    """Methods of the interconnect that are called now, None: those that are not.

    :ivar to: what is told
    :ivar record: of every operation
    :ivar access: of every access, before it is made
    :ivar maintenance: whether of maintenance by VA, and of what SCTLR is about to be, even without accesses
    :ivar passes_over: while ``record`` is this, there are PAs whose loads are not told
    :ivar watched: PAs whose stores are recorded even when nothing else is
    :ivar indexed: VAs where the X register there must be less than ``slots``; else that is recorded
    """

    __slots__ = (
        "access",
        "indexed",
        "maintenance",
        "passes_over",
        "record",
        "slots",
        "to",
        "watched",
    )

    def __init__(self, to: Interconnect) -> None:
        self.to = to
        self.record: Record | None = None
        self.passes_over: Record | None = None
        self.access: Callable[[PE, int, int, int, bool], None] | None = None
        self.maintenance = False
        self.watched = range(0)
        self.indexed: dict[int, int] = {}
        self.slots = 0
