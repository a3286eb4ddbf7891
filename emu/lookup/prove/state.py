"""The state of the PE on one path, and what an instruction asks of its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import z3

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.flags import Flags

SP = 31


class Surroundings(Protocol):
    """Memory and system registers, as an instruction sees them.

    :ivar sp: SP at entry, where it is a symbol of a stack
    """

    sp: z3.BitVecRef | None

    def load(self, state: State, access: Access) -> Value:
        """Return ``access.size`` bytes (a value of 8 times as many bits)."""

    def store(self, state: State, access: Access, value: Value) -> None:
        """Store them."""

    def register(self, encoding: tuple[int, int, int, int, int]) -> Value | None:
        """Return what an MRS reads (u64); None: it is not known here."""


@dataclass(frozen=True, slots=True)
class Access:
    """One access to memory.

    :ivar address: PA of its first byte (u64)
    :ivar size: bytes, 1, 2, 4 or 8
    :ivar base: the base register of the instruction; -1: a literal
    :ivar base_value: what the base register holds before it
    """

    address: Value
    size: int
    base: int = -1
    base_value: Value = 0


@dataclass(frozen=True, slots=True)
class Goes:
    """Where an instruction goes: to ``to`` where the condition holds, else to the next one."""

    to: Value
    condition: Truth = True


@dataclass(frozen=True, slots=True)
class Waits:
    """It waits, in WFE or WFI, for what nobody sends."""


Step = Goes | Waits | None


@dataclass(slots=True)
class State:
    """Registers of the PE: what instructions read and write.

    :ivar x: X0..X30 and SP (u64)
    :ivar pc: VA, of the instruction
    :ivar daif: the interrupt masks, as DAIF has them (u64)
    :ivar event: whether the event register is known to be set
    :ivar around: memory and system registers
    :ivar retired: instructions so far (u64)
    :ivar retired_max: at most
    :ivar stored: bytes that it has stored, by PA
    """

    x: list[Value]
    flags: Flags
    pc: int
    daif: Value
    around: Surroundings
    event: bool = False
    retired: Value = 0
    retired_max: int = 0
    stored: dict[int, Value] | None = None

    def copy(self) -> State:
        """Return a state that goes on by itself."""
        return State(
            self.x[:],
            self.flags,
            self.pc,
            self.daif,
            self.around,
            self.event,
            self.retired,
            self.retired_max,
            dict(self.stored) if self.stored is not None else None,
        )

    def read(self, number: int, width: int = 64) -> Value:
        """Return a register; 31 is ZR."""
        if number == 31:
            return 0
        return self.x[number] if width == 64 else bits.part(self.x[number], width - 1, 0)

    def read_sp(self, number: int, width: int = 64) -> Value:
        """Return a register; 31 is SP."""
        return self.x[number] if width == 64 else bits.part(self.x[number], width - 1, 0)

    def write(self, number: int, value: Value, width: int = 64) -> None:
        """Set a register, the rest of it to 0; 31 is ZR."""
        if number != 31:
            self.x[number] = bits.widen(value, width, 64)

    def write_sp(self, number: int, value: Value, width: int = 64) -> None:
        """Set a register, the rest of it to 0; 31 is SP."""
        self.x[number] = bits.widen(value, width, 64)
