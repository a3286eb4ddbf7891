"""Loops that change nothing: what an engine finds when it runs a PE ahead without effect."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, Protocol

from emu.cpu.counting import Wait
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE
from emu.cpu.stops import Raised

NESTED_MAX = 64  # exceptions of one kind, taken in their own handler, that nothing ends any more


class Loop(NamedTuple):
    """How a PE goes round.

    :ivar first, last: lowest and highest VA of its instructions
    :ivar raised: an exception that it takes on the way, or None
    :ivar counts: it comes to other states, but goes round for as many instructions as were asked about; for
        ever, if it takes an exception on the way
    :ivar wait: the counter decides when it ends
    """

    first: int
    last: int
    raised: Raised | None
    counts: bool = False
    wait: Wait | None = None


class LookAhead(Interconnect, Protocol):
    """What is outside of a PE that is run ahead: it notices what the PE would change for others.

    :ivar acts: whether the PE has done what others can see, or has looked at what changes by itself
    :ivar alone: nobody else does anything before the PE does something that others notice
    :ivar interrupts: the PE may be interrupted, where it does not mask that
    :ivar ticks_max: ticks that it may wait for the counter, which goes on with each read; 0: a read is an act
    """

    acts: bool
    alone: bool
    interrupts: bool
    ticks_max: int

    def call(self, pe: PE, conduit: str) -> int | None:
        """Return the answer (u64) to a firmware call that changes nothing, else None."""
        ...

    def passes(self, va: int) -> bool:
        """Tell whether a PE that stops at the breakpoint ``va`` goes on by itself."""
        ...

    def sleeps(self, pe: PE) -> bool:
        """Tell whether the PE sleeps in a WFE; one whose event register is set wakes now."""
        ...

    def state(self) -> Hashable:
        """Return what the PE has changed so far and may find again."""
        ...
