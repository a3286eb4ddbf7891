"""What a device is: registers at physical addresses, state that changes with time, interrupt lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Device(Protocol):
    """One device. Offsets are bytes from its base; ``now`` is simulated time in ns.

    An access of 8 bytes comes as two of 4, the lower first, as on a 32-bit bus.
    """

    def load(self, offset: int, size: int, now: int) -> int:
        """Return what a load of ``size`` bytes (1, 2 or 4) reads, unsigned."""
        ...

    def store(self, offset: int, size: int, value: int, now: int) -> None:
        """Take a store of ``size`` bytes (1, 2 or 4)."""
        ...

    def tick(self, now: int) -> int | None:
        """Let time come to ``now``; return when to be called next at the latest (ns), None: never."""
        ...

    @property
    def asserted(self) -> frozenset[int]:
        """The interrupt lines that are high: numbers of the device's own, from 0."""


# Takes one line of text that a device prints.
Console = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """What a file of this folder defines.

    :ivar name: the word of ``--device``
    :ivar device: makes one, which prints to the console
    :ivar region_bytes: of its registers; a multiple of 4,096
    :ivar summary: what it is, in one line
    """

    name: str
    device: Callable[[Console], Device]
    region_bytes: int
    summary: str
