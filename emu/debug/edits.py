"""Changes that a debugger makes to memory and registers; the session keeps them across travels."""

from __future__ import annotations

from dataclasses import dataclass

from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE
from emu.cpu.sysregs.rows import TABLE
from emu.machine import Machine

SP, PC, NZCV = 31, 32, 33  # register numbers behind X0..X30


@dataclass(frozen=True, slots=True)
class Edit:
    """A write to memory or to a register.

    :ivar place: PA; with ``cpu`` a register's number: X0..X30, SP, PC, or NZCV (bits 31:28 of u32)
    :ivar data: little-endian; 8 bytes of a register, 4 of NZCV
    :ivar cpu: logical CPU of the register; -1: memory
    :ivar system: the system register that is written, and not ``place``; 8 bytes
    """

    place: int
    data: bytes
    cpu: int = -1
    system: Encoding | None = None

    def apply(self, machine: Machine) -> None:
        """Write the bytes; a second time changes nothing."""
        if self.cpu < 0:
            machine.host_memory.poke(self.place, self.data)
            return
        pe, value = machine.actors[self.cpu].pe, int.from_bytes(self.data, "little")
        if self.system is not None:
            write_as_msr(machine, pe, self.system, value)
        elif self.place == PC:
            pe.pc = value
            pe.reached = -1
        elif self.place == NZCV:
            pe.nzcv = value & 0xF000_0000
        else:
            pe.x[self.place] = value


def write_as_msr(machine: Machine, pe: PE, encoding: Encoding, value: int) -> None:
    """Write a system register (u64) as an MSR of ``pe`` does, at a level that may."""
    write = TABLE[encoding].write
    if write is not None:
        write(pe, machine.interconnect, value)
    else:
        pe.set_system_register(encoding, value)
    machine.engine.forget_code()  # addresses may translate otherwise
