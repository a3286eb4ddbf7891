"""The registers that gdb sees, by the numbers that :mod:`emu.debug.gdb.description` gives them, as bytes."""

from __future__ import annotations

from binascii import hexlify

from emu.cpu.pe import PE
from emu.cpu.sysregs.access import value
from emu.cpu.sysregs.rows import BY_NAME
from emu.debug.edits import NZCV, PC, Edit
from emu.debug.system_registers import ROWS

X29, CPSR = 29, NZCV
_CORE = 33  # X0..X30, SP and PC lie together
V0, FPSR, FPCR = 34, 66, 67
FIRST_SYSTEM = 68
COUNT = FIRST_SYSTEM + len(ROWS)

# Of a CPU that has run no code no register is available. Its PC is 0: from no thread without one gdb goes on.
CORE_OF_NONE = b"x" * 16 * PC + b"0" * 16 + b"x" * 8
EXPEDITED_OF_NONE = b"20:%b;" % (b"0" * 16)


def core(pe: PE, pc: int | None = None) -> bytes:
    """Return X0..X30, SP, PC and CPSR, little-endian, in this order, as in a ``g`` packet.

    :param pc: what gdb is told instead of the PC
    """
    general = pe.general(0, _CORE)
    if pc is not None:
        general = general[: 8 * PC] + pc.to_bytes(8, "little")
    return general + pe.pstate.to_bytes(4, "little")


def expedited(pe: PE, pc: int | None = None) -> bytes:
    """Return the expedited registers of a stop reply, so that gdb need not read them after each step.

    :param pc: what gdb is told instead of the PC
    """
    shown = hexlify(pe.general(X29, PC + 1 - X29))  # X29, X30, SP and PC lie together
    told = shown[48:] if pc is None else hexlify(pc.to_bytes(8, "little"))
    return b"1d:%b;1f:%b;20:%b;" % (shown[:16], shown[32:48], told)


def read(pe: PE, number: int, pc: int | None = None) -> bytes | None:
    """Return the bytes of register ``number``, little-endian; None: a system register, or none.

    :param pc: what gdb is told instead of the PC
    """
    if number == PC and pc is not None:
        return pc.to_bytes(8, "little")
    if 0 <= number < CPSR:
        return pe.general(number, 1)
    if number == CPSR:
        return pe.pstate.to_bytes(4, "little")
    if V0 <= number < FPSR:
        return pe.vector_register(number - V0).to_bytes(16, "little")
    if number in (FPSR, FPCR):
        return (value(pe, BY_NAME["FPSR" if number == FPSR else "FPCR"]) & 0xFFFF_FFFF).to_bytes(4, "little")
    return None


def edit(cpu: int, number: int, data: bytes) -> Edit | None:
    """Return the edit that writes ``data`` to register ``number``; None when that is not possible.

    X0..X30, SP, PC, the flags in CPSR and system registers that are not read-only can be written.
    """
    if len(data) != (4 if number == CPSR else 8):
        return None
    if FIRST_SYSTEM <= number < COUNT:
        row = ROWS[number - FIRST_SYSTEM]
        return None if row.write_el is None else Edit(0, data, cpu, row.encoding)
    return Edit(number, data, cpu) if 0 <= number <= CPSR else None
