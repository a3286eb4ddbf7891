"""QEMU's ``CPUARMState`` as a view on host memory: of the running PE, or of one that is switched out."""

from __future__ import annotations

from array import array
from ctypes import Array, c_char, c_uint32, c_uint64

from emu.cpu.unicorn.layout import (
    CF,
    DAIF,
    NF,
    PC,
    PSTATE,
    REGIME,
    REGIME_SIZE,
    XREGS,
)

# What a trace of instructions copies of the state, from X0 to PSTATE.DAIF; where in it, in u64, things are.
TRACED, TRACED_BYTES = XREGS, DAIF + 8 - XREGS
_GENERAL_BYTES = PC + 8 - XREGS
_PC_AT, _PSTATE_AT, _CF_AT, _NF_AT, _DAIF_AT = ((at - XREGS) // 8 for at in (PC, PSTATE, CF, NF, DAIF))
_SIGN_N, _SIGN_V = (bytes(bit if byte >> 7 else 0 for byte in range(256)) for bit in (0x80, 0x10))
_IS_ZERO = bytes([0x40]) + bytes(255)
_CARRY = bytes([0]) + bytes([0x20]) * 255
_LEVEL = bytes(byte & 0xD for byte in range(256))  # PSTATE.EL and SPSel
_LOW = bytes(byte & 0xF for byte in range(256))


class Env:
    """A view of one ``CPUARMState`` at a host address."""

    __slots__ = ("_cells", "address", "general", "pc", "pstate", "regime", "x")

    def __init__(self, address: int) -> None:
        self.address = address
        self.x: Array[c_uint64] = (c_uint64 * 32).from_address(address + XREGS)
        # X0..X30, SP and PC: its bytes cost less than those at an address
        self.general: Array[c_char] = (c_char * _GENERAL_BYTES).from_address(address + XREGS)
        self.pc = c_uint64.from_address(address + PC)
        self.pstate = c_uint32.from_address(address + PSTATE)
        self.regime: Array[c_char] = (c_char * REGIME_SIZE).from_address(address + REGIME)
        self._cells: dict[int, c_uint64] = {}  # those that were asked for; making one takes 0.3 us

    def u64(self, offset: int) -> c_uint64:
        """Return the 64-bit cell at ``offset`` bytes into the state."""
        cell = self._cells.get(offset)
        if cell is None:
            cell = self._cells[offset] = c_uint64.from_address(self.address + offset)
        return cell

    def u32(self, offset: int) -> c_uint32:
        """Return the 32-bit cell at ``offset`` bytes into the state."""
        return c_uint32.from_address(self.address + offset)

    def traced(self) -> memoryview:
        """Return the part of the state that a trace of instructions copies."""
        return memoryview((c_char * TRACED_BYTES).from_address(self.address + TRACED)).cast("B")


def traced_columns(copies: array[int], count: int) -> tuple[list[array[int]], bytes, bytes]:
    """Return what so many copies of the state have, column by column, for :mod:`emu.instructions`.

    That is u64 X0..X30, SP and PC, then a byte NZCV << 4 | EL << 2 | SPSel and a byte DAIF of each.
    """
    width = TRACED_BYTES // 8

    def column(at: int) -> array[int]:
        return copies[at : count * width : width]

    carry, negative = column(_CF_AT).tobytes(), column(_NF_AT).tobytes()
    # QEMU keeps the flags apart: N and V are bit 31 of NF and VF, Z is ZF == 0, C is CF.
    nonzero = 0
    for byte in range(4, 8):
        nonzero |= int.from_bytes(negative[byte::8], "little")
    planes = (
        negative[3::8].translate(_SIGN_N),
        nonzero.to_bytes(count, "little").translate(_IS_ZERO),
        carry[0::8].translate(_CARRY),
        carry[7::8].translate(_SIGN_V),
        column(_PSTATE_AT).tobytes()[0::8].translate(_LEVEL),
    )
    flags = 0
    for plane in planes:
        flags |= int.from_bytes(plane, "little")
    masks = int.from_bytes(column(_DAIF_AT).tobytes(), "little") >> 6
    daif = masks.to_bytes(8 * count, "little")[0::8].translate(_LOW)
    words = [column(at) for at in (*range(32), _PC_AT)]
    return words, flags.to_bytes(count, "little"), daif
