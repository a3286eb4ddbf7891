"""The A64 code that asks a lookup one question after another inside one engine entry.

Per question: take the next MPIDR, poison every register, enter; at either exit fold what should not have
changed into one word that is 0 when nothing has, store it with the index, go on. Poisons are bitmask
immediates, so that setting and comparing one takes a single instruction and no register of its own.

Source: Arm DDI 0487, C4.1 (encodings), C3.4.2 (bitmask immediates).
"""

from __future__ import annotations

import struct

from emu.lookup.contract import RETURN, Contract
from emu.lookup.target import RETURN_PA, Target

MISSING = 0xFEDC_BA98_7654_3210  # stored for the index when the exit was "missing" ...
MISSING_BIT = 1 << 63  # ... and this bit beside it
RESULT_SIZE = 16  # index, then what has changed (u64 each)
CELLS_SIZE = 24  # next MPIDR, next result (PAs), questions left (u64 each)
MRS_MPIDR, MRS_MPIDR_MASK = 0xD538_00A0, 0xFFFF_FFE0
_TPIDRRO = 0xD060  # o0, op1, CRn, CRm, op2 of TPIDRRO_EL0, as bits of MRS and MSR
_MRS_TPIDRRO, _MSR_TPIDRRO = 0xD53B_0000 | _TPIDRRO, 0xD51B_0000 | _TPIDRRO
_MRS_NZCV, _MSR_NZCV = 0xD53B_4200, 0xD51B_4200
DRIVER_FLAGS = 0xA000_0000  # NZCV at entry: N and C
_HVC = 0xD400_0002


def _bitmask(ones: int, rotation: int) -> tuple[int, int]:
    # (value, its immr and imms) of a 64-bit pattern: `ones` bits set, rotated right.
    value = (1 << ones) - 1
    value = (value >> rotation | value << 64 - rotation) % 2**64
    return value, 1 << 22 | rotation << 16 | ones - 1 << 10


# One for each register: bits 63 and 40 set and not aligned, so that none is an address of anything.
_POISONS = [_bitmask(25 + number, 1 + (25 + number) // 2) for number in range(31)]
DRIVER_POISONS = tuple(value for value, _fields in _POISONS)  # X0..X30, u64


def mrs_tpidrro(word: int) -> int:
    """Return an MRS from MPIDR_EL1 (u32) as one from TPIDRRO_EL0, which the driver writes, to the same Xt."""
    return _MRS_TPIDRRO | word & 31


class Driver:
    """The code for one target, to be placed at ``pa``; its cells are at ``cells_pa``."""

    def __init__(self, target: Target, pa: int, cells_pa: int) -> None:
        self._target = target
        self._contract: Contract = target.contract
        self._cells_pa = cells_pa
        self._words: list[int] = []
        self._pa = pa
        contract = self._contract
        self.start_pa = pa
        self._index = int(contract.index[1:])
        allowed = {contract.index, *contract.may_change}
        self._inputs = self._given()
        self._kept = [n for n in range(31) if f"x{n}" not in allowed and n not in self._inputs]
        self._start()
        self.found_pa = self._here
        self._exit(missing=False)
        self.missing_pa = self._here
        self._exit(missing=True)

    @property
    def code(self) -> bytes:
        """The instructions."""
        return struct.pack(f"<{len(self._words)}I", *self._words)

    @property
    def _here(self) -> int:
        return self._pa + 4 * len(self._words)

    def _given(self) -> dict[int, int | None]:
        # Registers that hold something at entry; None: the MPIDR.
        contract = self._contract
        found: dict[int, int | None] = {}
        if RETURN in (contract.found, contract.missing):
            found[30] = RETURN_PA
        if contract.mpidr != "mpidr_el1":
            found[int(contract.mpidr[1:])] = None
        for placed in self._target.tables:
            if placed.table.base:
                found[int(placed.table.base[1:])] = placed.pa
            if placed.table.length:
                found[int(placed.table.length[1:])] = placed.count
        return found

    def _emit(self, *words: int) -> None:
        self._words += words

    def _load_constant(self, register: int, value: int) -> None:
        self._emit(0xD280_0000 | (value & 0xFFFF) << 5 | register)  # movz
        for part in (1, 2, 3):
            bits = value >> 16 * part & 0xFFFF
            if bits:
                self._emit(0xF280_0000 | part << 21 | bits << 5 | register)  # movk

    def _branch(self, pa: int) -> None:
        self._emit(0x1400_0000 | (pa - self._here) >> 2 & 0x3FF_FFFF)

    def _start(self) -> None:
        self._load_constant(20, self._cells_pa)
        self._emit(
            0xF940_0000 | 20 << 5 | 21,  # ldr x21, [x20]: next MPIDR
            0xF840_8400 | 21 << 5 | 22,  # ldr x22, [x21], #8
            0xF900_0000 | 20 << 5 | 21,  # str x21, [x20]
            _MSR_TPIDRRO | 22,
        )
        contract = self._contract
        if contract.stack:
            self._load_constant(23, self._target.stack_top)
        else:
            self._load_constant(23, 0xDEAD_0000_0000_0000)
        self._emit(0x9100_0000 | 23 << 5 | 31)  # mov sp, x23
        self._emit(0xD2A0_0000 | (DRIVER_FLAGS >> 16) << 5 | 24, _MSR_NZCV | 24)  # movz x24, lsl #16
        for number, (_value, fields) in enumerate(_POISONS):
            self._emit(0xB200_0000 | fields | 31 << 5 | number)  # mov xN, #poison
        for number, value in self._inputs.items():
            if value is None:
                self._emit(_MRS_TPIDRRO | number)
            else:
                self._load_constant(number, value)
        self._branch(self._target.entry_pa)

    def _exit(self, *, missing: bool) -> None:
        # Which registers are free to work with: all but the index, once they are folded.
        index, contract = self._index, self._contract
        kept = self._kept
        for number in kept:
            self._emit(0xD200_0000 | _POISONS[number][1] | number << 5 | number)  # eor: 0 when intact
        free = [number for number in range(31) if number != index and number not in self._inputs]
        folded = kept[0] if kept else None
        for number in kept[1:]:
            self._or(kept[0], number)
        work = [number for number in free if number != folded]
        if folded is None:
            folded, work = work[0], work[1:]
            self._emit(0xD280_0000 | folded)
        a, b = work[:2]
        for number, value in self._inputs.items():
            if f"x{number}" in contract.may_change or number == index:
                continue
            if value is None:
                self._emit(_MRS_TPIDRRO | a)
            else:
                self._load_constant(a, value)
            self._xor(a, number)
            self._or(folded, a)
        self._load_constant(a, self._target.stack_top if contract.stack else 0xDEAD_0000_0000_0000)
        self._emit(0x9100_0000 | 31 << 5 | b)  # mov b, sp
        self._xor(a, b)
        self._or(folded, a)
        if contract.preserve_flags:
            self._emit(_MRS_NZCV | b)
            self._load_constant(a, DRIVER_FLAGS)
            self._xor(a, b)
            self._or(folded, a)
        if missing:
            self._load_constant(index, MISSING)
            self._emit(0xB200_0000 | 1 << 22 | 1 << 16 | folded << 5 | folded)  # orr folded, #1 << 63
        self._load_constant(a, self._cells_pa)
        self._emit(
            0xF940_0000 | 1 << 10 | a << 5 | b,  # ldr b, [a, #8]: next result
            0xA880_0000 | 2 << 15 | folded << 10 | b << 5 | index,  # stp index, folded, [b], #16
            0xF900_0000 | 1 << 10 | a << 5 | b,  # str b, [a, #8]
            0xF940_0000 | 2 << 10 | a << 5 | b,  # ldr b, [a, #16]: questions left
            0xD100_0400 | b << 5 | b,  # sub b, b, #1
            0xF900_0000 | 2 << 10 | a << 5 | b,  # str b, [a, #16]
            0xB400_0040 | b,  # cbz b, over the branch
        )
        self._branch(self.start_pa)
        self._emit(_HVC)

    def _or(self, into: int, number: int) -> None:
        self._emit(0xAA00_0000 | number << 16 | into << 5 | into)

    def _xor(self, into: int, number: int) -> None:
        self._emit(0xCA00_0000 | number << 16 | into << 5 | into)
