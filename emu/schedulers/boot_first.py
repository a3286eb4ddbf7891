"""Boot CPU first: of those that can go the lowest, so the boot CPU has kicked all before one arrives."""

from __future__ import annotations

from collections.abc import Sequence

NAME = "boot-first"
SEEDED = False
FAIR = False


class BootFirst:
    """Picks the lowest index."""

    def __init__(self, text: str = "") -> None:
        if text:
            raise ValueError("takes nothing behind its name")

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the lowest runnable actor."""
        return runnable[0]


SCHEDULER = BootFirst
