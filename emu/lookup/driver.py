"""The A64 code that asks a lookup one question after another inside one engine entry.

Per question: take the next MPIDR, poison every register, enter; at either exit fold what should not have
changed, and the difference from the answer that is right, into one word that is 0 when all is right; where it
is not, store where the question is; go on. Poisons are bitmask immediates, so that setting and comparing one
takes a single instruction and no register of its own.

A register that no instruction of the code names cannot change, nor can its value matter. It is not looked at
again, and where there are enough of them the driver keeps what it needs in some: MPIDR_EL1 as well, for each
MSR ends a translated block, and with it the run of what follows.

Source: Arm DDI 0487, C4.1 (encodings), C3.4.2 (bitmask immediates).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from emu.lookup.constants import code_words
from emu.lookup.contract import RETURN, Contract
from emu.lookup.target import RETURN_PA, Target

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


class _Own(NamedTuple):
    # Registers of the driver, for as long as it runs.
    question: int
    wrong: int
    left: int
    none: int
    answers: int
    sp: int
    flags: int
    mpidr: int
    folded: int
    work: int


def named_registers(target: Target) -> frozenset[int]:
    """Return the numbers of the X registers that instructions from the entry to the exits may read or write.

    Any number in a field of any of them; all, where an instruction changes registers that it does not name,
    or goes where a register says.
    """
    found: set[int] = set()
    for _pa, word in code_words(target):
        calls_or_jumps = word >> 26 == 0x25 or word >> 25 == 0x6B
        several = word & 0x3F00_0000 == 0x0800_0000 or word & 0xFFFF_FC00 == 0xF83F_D000  # CASP, LD64B
        if calls_or_jumps or several:
            return frozenset(range(31))
        found |= {word >> low & 31 for low in (0, 5, 10, 16)}
    return frozenset(found - {31})


class Places(NamedTuple):
    """Where a driver finds what it needs: PAs.

    :ivar code: of itself
    :ivar cells: of its cells, u64 each: PAs of the next question and of where the next wrong one is told,
        questions left, what is right where no entry matches
    :ivar answers: from each question to what is right: bytes
    """

    code: int
    cells: int
    answers: int


class Driver:
    """The code for one target."""

    def __init__(self, target: Target, places: Places) -> None:
        self._target = target
        self._contract: Contract = target.contract
        self._places = places
        pa = places.code
        self._words: list[int] = []
        self._pa = pa
        contract = self._contract
        self.start_pa = pa
        self._index = int(contract.index[1:])
        allowed = {contract.index, *contract.may_change}
        self._inputs = self._given()
        named = named_registers(target)
        self._named = [n for n in range(31) if n in named]
        free = [n for n in range(31) if not {n} & {*named, *self._inputs} and f"x{n}" not in allowed]
        self._own = _Own(*free[: len(_Own._fields)]) if len(free) >= len(_Own._fields) else None
        self._kept = [n for n in range(31) if f"x{n}" not in allowed and n not in self._inputs]
        if self._own is not None:
            self._kept = [n for n in self._kept if n in named]
            self._begin(self._own)
            self._loop_pa = self._here
            self._start_quickly(self._own)
        else:
            self._start()
        self.found_pa = self._here
        self._exit(missing=False)
        self.missing_pa = self._here
        self._exit(missing=True)

    @property
    def left(self) -> int | None:
        """The register with how many questions are left; None: it is in the third cell."""
        return None if self._own is None else self._own.left

    @property
    def wrong(self) -> int | None:
        """The register with where the next wrong question is told (PA); None: it is in the second cell."""
        return None if self._own is None else self._own.wrong

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
        self._load_constant(20, self._places.cells)
        self._emit(
            0xF940_0000 | 20 << 5 | 21,  # ldr x21, [x20]: next MPIDR
            0xF840_8400 | 21 << 5 | 22,  # ldr x22, [x21], #8
            0xF900_0000 | 20 << 5 | 21,  # str x21, [x20]
            _MSR_TPIDRRO | 22,
        )
        self._load_constant(23, self._sp)
        self._emit(0x9100_0000 | 23 << 5 | 31)  # mov sp, x23
        self._emit(0xD2A0_0000 | (DRIVER_FLAGS >> 16) << 5 | 24, _MSR_NZCV | 24)  # movz x24, lsl #16
        for number, (_value, fields) in enumerate(_POISONS):
            self._emit(0xB200_0000 | fields | 31 << 5 | number)  # mov xN, #poison
        self._load_inputs()
        self._branch(self._target.entry_pa)

    @property
    def _sp(self) -> int:
        # At entry; an address of nothing where there is no stack.
        return self._target.stack_top if self._contract.stack else 0xDEAD_0000_0000_0000

    def _mpidr_to(self, number: int) -> int:
        # mov xN, mpidr; or an MRS.
        return _MRS_TPIDRRO | number if self._own is None else 0xAA00_03E0 | self._own.mpidr << 16 | number

    def patched(self, word: int) -> int:
        """Return what takes the place of an MRS of MPIDR_EL1 (u32)."""
        return self._mpidr_to(word & 31)

    def _load_inputs(self) -> None:
        for number, value in self._inputs.items():
            if value is None:
                self._emit(self._mpidr_to(number))
            else:
                self._load_constant(number, value)

    def _fold_inputs(self, folded: int, work: int) -> None:
        # Those that may not change.
        for number, value in self._inputs.items():
            if f"x{number}" in self._contract.may_change or number == self._index:
                continue
            if value is None:
                self._emit(self._mpidr_to(work))
            else:
                self._load_constant(work, value)
            self._xor(work, number)
            self._or(folded, work)

    def _compare(self, folded: int, want: int, none: int, *, missing: bool) -> None:
        # Fold in how the answer differs from `want`. Flags are folded already.
        if missing:
            self._xor(want, none)
        else:
            if self._contract.missing_index is None:
                self._emit(0xEB00_0000 | none << 16 | want << 5 | 31)  # cmp want, none
            self._xor(want, self._index)
            if self._contract.missing_index is None:
                self._emit(0xDA9F_1000 | want << 5 | want)  # csinv want, want, xzr, ne: -1 where it is none
        self._or(folded, want)

    def _begin(self, own: _Own) -> None:
        # Once: what the driver keeps, and a poison in what no instruction names.
        for number, (_value, fields) in enumerate(_POISONS):
            if number not in self._named:
                self._emit(0xB200_0000 | fields | 31 << 5 | number)  # mov xN, #poison
        self._load_constant(own.work, self._places.cells)
        for cell, register in enumerate((own.question, own.wrong, own.left, own.none)):
            self._emit(0xF940_0000 | cell << 10 | own.work << 5 | register)  # ldr xN, [work, #8 * cell]
        self._load_constant(own.answers, self._places.answers - 8)  # from the question after it
        self._load_constant(own.sp, self._sp)
        self._emit(0xD2A0_0000 | (DRIVER_FLAGS >> 16) << 5 | own.flags)  # movz flags, lsl #16

    def _start_quickly(self, own: _Own) -> None:
        self._emit(
            0xF840_8400 | own.question << 5 | own.mpidr,  # ldr mpidr, [question], #8
            0x9100_0000 | own.sp << 5 | 31,  # mov sp, x
            _MSR_NZCV | own.flags,
        )
        for number in self._named:
            self._emit(0xB200_0000 | _POISONS[number][1] | 31 << 5 | number)  # mov xN, #poison
        self._load_inputs()
        self._branch(self._target.entry_pa)

    def _exit(self, *, missing: bool) -> None:
        if self._own is None:
            self._exit_by_cells(missing=missing)
            return
        own, folded, work = self._own, self._own.folded, self._own.work
        self._emit(0x9100_0000 | 31 << 5 | folded)  # mov folded, sp
        self._xor(folded, own.sp)
        for number in self._kept:
            self._emit(0xD200_0000 | _POISONS[number][1] | number << 5 | work)  # eor work, xN, #poison
            self._or(folded, work)
        self._fold_inputs(folded, work)
        if self._contract.preserve_flags:
            self._emit(_MRS_NZCV | work)
            self._xor(work, own.flags)
            self._or(folded, work)
        self._emit(0xF860_6800 | own.answers << 16 | own.question << 5 | work)  # ldr
        self._compare(folded, work, own.none, missing=missing)
        self._emit(
            0xB400_0040 | folded,  # cbz folded, over the store
            0xF800_8400 | own.wrong << 5 | own.question,  # str question, [wrong], #8
            0xD100_0400 | own.left << 5 | own.left,  # sub left, left, #1
        )
        self._loop_while(own.left, self._loop_pa)

    def _loop_while(self, left: int, pa: int) -> None:
        self._emit(0xB500_0000 | ((pa - self._here) >> 2 & 0x7FFFF) << 5 | left, _HVC)  # cbnz left, pa

    def _exit_by_cells(self, *, missing: bool) -> None:
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
        self._fold_inputs(folded, a)
        self._load_constant(a, self._sp)
        self._emit(0x9100_0000 | 31 << 5 | b)  # mov b, sp
        self._xor(a, b)
        self._or(folded, a)
        if contract.preserve_flags:
            self._emit(_MRS_NZCV | b)
            self._load_constant(a, DRIVER_FLAGS)
            self._xor(a, b)
            self._or(folded, a)
        self._load_constant(a, self._places.cells)
        c, d = work[2:4]
        self._emit(0xF940_0000 | a << 5 | b)  # ldr b, [a]: the question after it
        self._load_constant(c, self._places.answers - 8)
        self._emit(
            0xF860_6800 | c << 16 | b << 5 | c,  # ldr c, [b, c]: what is right
            0xF940_0000 | 3 << 10 | a << 5 | d,  # ldr d, [a, #24]: none
        )
        self._compare(folded, c, d, missing=missing)
        self._emit(
            0xF940_0000 | 1 << 10 | a << 5 | c,  # ldr c, [a, #8]: where the next wrong one is told
            0xB400_0060 | folded,  # cbz folded, over the stores
            0xF800_8400 | c << 5 | b,  # str b, [c], #8
            0xF900_0000 | 1 << 10 | a << 5 | c,  # str c, [a, #8]
            0xF940_0000 | 2 << 10 | a << 5 | b,  # ldr b, [a, #16]: questions left
            0xD100_0400 | b << 5 | b,  # sub b, b, #1
            0xF900_0000 | 2 << 10 | a << 5 | b,  # str b, [a, #16]
        )
        self._loop_while(b, self.start_pa)

    def _or(self, into: int, number: int) -> None:
        self._emit(0xAA00_0000 | number << 16 | into << 5 | into)

    def _xor(self, into: int, number: int) -> None:
        self._emit(0xCA00_0000 | number << 16 | into << 5 | into)
