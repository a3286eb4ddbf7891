"""What a proof is about, as its parts see it: who asks, the tables, and what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import z3

from emu.lookup.case import Question
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.target import Placed


@dataclass(frozen=True, slots=True)
class Table:
    """A table of symbols.

    :ivar entry: the value of an entry, ``8 * element`` bits, by its number (64 bits), which may be a symbol
    """

    placed: Placed
    element: int
    entry: Callable[[Value], Value]


class Situation(Protocol):
    """Symbols for the logical map and MPIDR_EL1, and what is known of them.

    :ivar known: what always holds
    :ivar mpidr: MPIDR_EL1 of the CPU that asks (64 bits)
    :ivar tables: those of the target, in its order
    """

    known: list[z3.BoolRef]
    mpidr: z3.BitVecRef
    tables: Sequence[Table]

    @property
    def nobody(self) -> Truth:
        """Tell whether it is right to find nothing."""

    def finds(self, index: Value) -> Truth:
        """Tell whether it is right to find the logical CPU ``index`` (64 bits)."""

    def question(self, model: z3.ModelRef) -> Question:
        """Return the question that the values of ``model`` make."""
