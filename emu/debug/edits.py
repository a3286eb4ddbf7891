"""What a debugger changes in a machine: kept with the session, so that going back and forth keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from emu.machine import Machine

SP, PC, NZCV = 31, 32, 33  # register numbers behind X0..X30


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes put into memory, or into a register.

    :ivar place: PA; with ``cpu`` a register's number: X0..X30, SP, PC, or NZCV (bits 31:28 of u32)
    :ivar data: little-endian; 8 bytes of a register, 4 of NZCV
    :ivar cpu: whose register; -1: memory
    """

    place: int
    data: bytes
    cpu: int = -1

    def apply(self, machine: Machine) -> None:
        """Do it; once more does no harm."""
        if self.cpu < 0:
            machine.host_memory.poke(self.place, self.data)
            return
        pe, value = machine.actors[self.cpu].pe, int.from_bytes(self.data, "little")
        if self.place == PC:
            pe.pc = value
            pe.reached = -1
        elif self.place == NZCV:
            pe.nzcv = value & 0xF000_0000
        else:
            pe.x[self.place] = value
