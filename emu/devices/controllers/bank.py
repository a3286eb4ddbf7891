"""Interrupts that are one CPU's own, or those that all CPUs share; their states (Arm IHI 0048B, 3.2.4)."""

from __future__ import annotations

from typing import Any

SGIS = 0xFFFF  # INTIDs 0..15
PRIVATE = 32  # INTIDs below are SGIs and PPIs, from here on SPIs


class Bank:
    """Interrupts; bit n of a mask stands for INTID n.

    A level-sensitive interrupt is pending while its input is high or software has set it pending, an
    edge-triggered one from the edge on.

    :ivar latched: edges, and what software has set pending
    :ivar lines: inputs that are high
    :ivar edge: edge-triggered ones
    :ivar group1: those of group 1
    :ivar priorities: by INTID, u8
    """

    __slots__ = ("active", "edge", "enabled", "group1", "latched", "lines", "priorities")

    def __init__(self, intids: int, enabled: int = 0, edge: int = 0) -> None:
        """:param intids: the highest INTID and 1."""
        self.enabled, self.edge = enabled, edge
        self.latched = self.lines = self.active = self.group1 = 0
        self.priorities = bytearray(intids)

    def pending(self) -> int:
        """Return those that are pending, active or not."""
        return self.latched | self.lines & ~self.edge

    def ready(self, groups: int) -> int:
        """Return those to forward: pending and enabled, not active, of a group of ``groups``."""
        ready = self.pending() & self.enabled & ~self.active
        if ready and groups != 3:
            ready &= (0, ~self.group1, self.group1)[groups]
        return ready

    def set_line(self, bit: int, high: bool) -> None:
        """Take the level of the input of one."""
        if high:
            self.latched |= bit & self.edge & ~self.lines
            self.lines |= bit
        else:
            self.lines &= ~bit

    def state(self) -> Any:
        """Return what the interrupts remember."""
        masks = self.enabled, self.edge, self.latched, self.lines, self.active, self.group1
        return masks, bytes(self.priorities)

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned."""
        masks, priorities = state
        self.enabled, self.edge, self.latched, self.lines, self.active, self.group1 = masks
        self.priorities = bytearray(priorities)
