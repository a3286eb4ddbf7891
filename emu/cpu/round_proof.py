"""Proof that a loop which counts goes on for so many rounds, from one round of it.

Round i begins with registers, and words in memory, of which each is ``value + slope * i``. The proof takes
the instructions of the round, one after another, with such lines in the place of values. It holds when they
lead to ``value + slope * (i + 1)``, and when every branch goes the same way in the first and in the last
round: what is compared are lines, so it does in all between. There is no proof when a line leaves its
width, or when an instruction makes of a value that changes anything but a sum, a difference or a copy.
Values that do not change may be used by any instruction whose effect is on registers alone.

An exception may be part of the round, with what its handler does to system registers: these, and all else
that a PE is made of, are the same each time that it is taken, and nothing that changes goes into them.

Source: Arm DDI 0487, C4.1 (encodings), C1.2.4 (conditions).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack
from typing import NamedTuple

from emu.arch.operand import access_va, sign_extended, transfers, writes_back
from emu.cpu.stops import Raised

_ZR = 31
_X30 = 30
_SP = 31
_ERET = 0xD69F_03E0
_HINTS = (0xD503_201F, 0xD503_203F, 0xD503_205F, 0xD503_209F, 0xD503_20BF)  # NOP, YIELD, WFE, SEV, SEVL
# EC of aborts, and of a misaligned SP: FAR and ISS may follow from the registers that make the address.
_EC_OF_ADDRESS = (0x20, 0x21, 0x24, 0x25, 0x26)
# CRn of system registers that change by themselves: random numbers, flags and the like, PMU, timers.
_CHANGE = (2, 4, 9, 14)
_SAVED = (0b000, 0b100)  # op1 of those with CRn 4 that hold what an exception saves, or a stack pointer


class Access(NamedTuple):
    """A load or store that was made: PA, bytes, value."""

    is_store: bool
    pa: int
    size: int
    value: int


class Step(NamedTuple):
    """An instruction that was done.

    :ivar registers: X0..X30 and SP before it, 8 bytes each, little-endian
    :ivar raised: what it raises in place of an effect of its own; it is taken
    :ivar state: then, what tells all else of the PE, before that
    """

    pc: int
    word: int
    registers: bytes
    accesses: tuple[Access, ...]
    raised: Raised | None = None
    state: bytes = b""


class Line(NamedTuple):
    """``value + slope * i`` in round i: u64, signed."""

    value: int
    slope: int


class _Flags(NamedTuple):
    # NZCV of ``a - b`` (or ``a + b``); both None: they are the same in all rounds.
    a: Line | None = None
    b: Line | None = None
    bits: int = 64
    is_sum: bool = False


class NoProof(Exception):  # noqa: N818 - no error
    """There is none."""


def reads_counter(step: Step) -> bool:
    """Tell whether it is an MRS of CNTPCT_EL0 or CNTVCT_EL0."""
    return step.word & 0xFFFF_FF80 == 0xD53B_E000 and step.word >> 5 & 3 in (1, 2)


class Round:
    """Takes one round: ``before`` is the round before, ``after`` the first instruction of the next one."""

    def __init__(self, before: Sequence[Step], now: Sequence[Step], after: Step, rounds: int) -> None:
        self._before, self._now, self._after, self._rounds = before, now, after, rounds
        then, here = (unpack("<32Q", steps[0].registers) for steps in (before, now))
        self._begin = [Line(b, sign_extended(b - a & 2**64 - 1, 64)) for a, b in zip(then, here, strict=True)]
        self._x = list(self._begin)
        self._flags: _Flags | None = None
        self._cells: dict[tuple[int, int], Line] = {}  # by PA and bytes
        self._cells_begin: dict[tuple[int, int], Line] = {}
        self._raises = any(step.raised for step in now)
        self._begins_with_flags = False  # an exception has saved those of the round before
        self._code = (min(step.pc for step in now), max(step.pc for step in now) + 4)

    def prove(self) -> None:
        """Prove it.

        :raises NoProof: it cannot be
        """
        for number, step in enumerate(self._now):
            following = self._now[number + 1] if number + 1 < len(self._now) else self._after
            self._take(number, step, following)
        for begin, end in (
            *zip(self._begin, self._x, strict=True),
            *((self._cells_begin[each], self._cells[each]) for each in self._cells_begin),
        ):
            if end.slope != begin.slope or end.value != begin.value + begin.slope & 2**64 - 1:
                raise NoProof
            self._ends(begin)
        if self._begins_with_flags and self._flags is not None and self._flags.a is not None:
            raise NoProof

    # -- numbers ----------------------------------------------------------------------------------

    def _ends(self, line: Line, bits: int = 64, *, signed: bool = False) -> tuple[int, int]:
        # Its values in the first and in the last round; both, and all between, fit the width.
        value = line.value & (1 << bits) - 1
        if signed:
            value = sign_extended(value, bits)
        end = value + line.slope * self._rounds
        least = -(1 << bits - 1) if signed else 0
        if not least <= end < least + (1 << bits):
            raise NoProof
        return value, end

    def _line(self, value: int, slope: int, bits: int) -> Line:
        line = Line(value & (1 << bits) - 1, slope)
        self._ends(line, bits)
        return line

    def _read(self, number: int, bits: int = 64, *, sp: bool = False) -> Line:
        if number == _ZR and not sp:
            return Line(0, 0)
        line = self._x[number]
        return line if bits == 64 else self._line(line.value, line.slope, bits)

    def _write(self, number: int, line: Line, *, sp: bool = False) -> None:
        if number != _ZR or sp:
            self._x[number] = line

    def _constant(self, number: int, *, sp: bool = False) -> int:
        line = self._read(number, sp=sp)
        if line.slope:
            raise NoProof
        return line.value

    # -- instructions -----------------------------------------------------------------------------

    def _take(self, number: int, step: Step, following: Step) -> None:
        word = step.word
        group = word >> 25 & 15  # Arm DDI 0487, C4.1: op0
        if step.raised is not None:
            self._exception(step, step.raised, following)
        elif self._changes_no_register(word):
            pass
        elif self._raises and self._is_system(word):
            self._system(step, following)
        elif group & 0b0101 == 0b0100:
            self._access(number, step, following)
        elif reads_counter(step):
            self._counter(number, step, following)
        elif group & 0b1110 == 0b1010:
            self._branch(step)
        elif group & 0b1110 == 0b1000:
            self._immediate(step, following)
        elif group & 0b0111 == 0b0101:
            self._register(step, following)
        else:
            raise NoProof

    def _counter(self, number: int, step: Step, following: Step) -> None:
        # What it was in this round and in the one before.
        rd = step.word & 31
        if rd == _ZR:
            return
        then = self._before[number + 1] if number + 1 < len(self._before) else self._now[0]
        a, b = (int.from_bytes(each.registers[8 * rd : 8 * rd + 8], "little") for each in (then, following))
        self._write(rd, self._line(b, sign_extended(b - a & 2**64 - 1, 64), 64))

    def _immediate(self, step: Step, following: Step) -> None:
        word = step.word
        rd, rn, bits = word & 31, word >> 5 & 31, 64 if word >> 31 else 32
        which = word >> 23 & 7
        if which == 0b010:  # ADD, SUB
            immediate = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
            sets_flags = bool(word >> 29 & 1)
            self._sum(word, self._read(rn, bits, sp=True), Line(immediate, 0), bits, sp=not sets_flags)
        elif which in (0b000, 0b001):  # ADR, ADRP
            self._same(step, following, (), rd)
        elif which == 0b101:  # MOVN, MOVZ, MOVK
            self._same(step, following, (rd,) if word >> 29 & 3 == 3 else (), rd)
        elif which == 0b100:  # AND, ORR, EOR, ANDS
            sets_flags = word >> 29 & 3 == 3
            self._same(step, following, (rn,), rd, sp=not sets_flags)
            if sets_flags:
                self._flags = _Flags()
        elif which in (0b110, 0b111):  # SBFM, BFM, UBFM, EXTR
            self._same(step, following, (rn, rd if which == 0b110 else word >> 16 & 31), rd)
        else:
            raise NoProof

    def _register(self, step: Step, following: Step) -> None:
        word = step.word
        rd, rn, rm, bits = word & 31, word >> 5 & 31, word >> 16 & 31, 64 if word >> 31 else 32
        which = word >> 21 & 15 | (word >> 28 & 1) << 4
        if which & 0b11000 == 0b01000:  # ADD, SUB: shifted (bit 21 clear), extended
            plain = not word >> 10 & 63 and not word >> 22 & 3 if not which & 1 else False
            extended = bool(which & 1)
            sets_flags = bool(word >> 29 & 1)
            if plain:
                self._sum(word, self._read(rn, bits), self._read(rm, bits), bits, sp=False)
                return
            self._same(step, following, (rn, rm), rd, sp=extended, into_sp=extended and not sets_flags)
            if sets_flags:
                self._flags = _Flags()
        elif which & 0b11000 == 0:  # AND, ORR, EOR, ANDS and their complements: shifted
            if word & 0x7FE0_FFE0 == 0x2A00_03E0:  # MOV
                self._write(rd, self._read(rm, bits))
                return
            self._same(step, following, (rn, rm), rd)
            if word >> 29 & 3 == 3:
                self._flags = _Flags()
        elif which & 0b11000 == 0b11000:  # three sources
            self._same(step, following, (rn, rm, word >> 10 & 31), rd)
        elif which == 0b10110 and not word >> 29 & 1:  # one source, two sources
            self._same(step, following, (rd, rn) if word >> 30 & 1 else (rd, rn, rm), rd)
        elif which == 0b10100 and self._flags == _Flags():  # CSEL and the like
            self._same(step, following, (rn, rm), rd)
        else:
            raise NoProof

    def _same(
        self,
        step: Step,
        following: Step,
        reads: tuple[int, ...],
        rd: int,
        *,
        sp: bool = False,
        into_sp: bool | None = None,
    ) -> None:
        # What is the same in all rounds gives the same as it has given.
        for number in reads:
            self._constant(number, sp=sp and number == reads[0])
        into_sp = sp if into_sp is None else into_sp
        if rd != _ZR or into_sp:
            self._x[rd] = Line(int.from_bytes(following.registers[8 * rd : 8 * rd + 8], "little"), 0)

    def _sum(self, word: int, a: Line, b: Line, bits: int, *, sp: bool) -> None:
        subtracts = bool(word >> 30 & 1)
        sign = -1 if subtracts else 1
        if word >> 29 & 1:
            same = not a.slope and not b.slope
            self._flags = _Flags() if same else _Flags(a, b, bits, not subtracts)
            if word & 31 == _ZR:
                return
        self._write(word & 31, self._line(a.value + sign * b.value, a.slope + sign * b.slope, bits), sp=sp)

    # -- exceptions -------------------------------------------------------------------------------

    def _exception(self, step: Step, raised: Raised, following: Step) -> None:
        word = step.word
        if raised.syndrome >> 26 in _EC_OF_ADDRESS and raised.preferred_return == step.pc:
            is_access = word >> 25 & 0b0101 == 0b0100
            for number in self._address_registers(word) if is_access else (word & 31, word >> 5 & 31):
                self._constant(number, sp=is_access)
        if self._flags is None:
            self._begins_with_flags = True
        elif self._flags.a is not None:
            raise NoProof  # they go into SPSR
        if step.registers[: 8 * _SP] != following.registers[: 8 * _SP]:
            raise NoProof
        self._change_stack(following)

    def _change_stack(self, following: Step) -> None:
        # SP may be that of another level from here on.
        self._constant(_SP, sp=True)
        self._x[_SP] = Line(int.from_bytes(following.registers[8 * _SP :], "little"), 0)

    @staticmethod
    def _changes_no_register(word: int) -> bool:
        # Barriers, TLBI, NOP and events. A WFE that goes on finds an event in each round when it has in two.
        return word in _HINTS or word >> 12 == 0xD5033 or word & 0xFFF8_F000 == 0xD508_8000

    @staticmethod
    def _is_system(word: int) -> bool:
        # ERET; MRS and MSR of what does not change by itself; MSR of a field of PSTATE.
        if word >> 20 in (0xD53, 0xD51):
            crn, op1 = word >> 12 & 15, word >> 16 & 7
            return crn not in _CHANGE or (crn == 4 and op1 in _SAVED)
        return word == _ERET or word & 0xFFF8_F01F == 0xD500_401F

    def _system(self, step: Step, following: Step) -> None:
        rt = step.word & 31
        if step.word >> 20 == 0xD53:
            self._same(step, following, (), rt)
            return
        if step.word >> 20 == 0xD51:
            self._constant(rt)
        elif step.word == _ERET:
            self._flags = _Flags()  # from SPSR
        self._change_stack(following)

    # -- memory -----------------------------------------------------------------------------------

    def _access(self, number: int, step: Step, following: Step) -> None:
        word, made = step.word, transfers(step.word)
        is_exclusive = word & 0x3F80_0000 == 0x0800_0000
        if not made or len(made) != len(step.accesses) or is_exclusive:
            raise NoProof
        registers = unpack("<32Q", step.registers)
        va = access_va(word, step.pc, registers)
        for base in self._address_registers(word):
            self._constant(base, sp=base == word >> 5 & 31)
        for at, (transfer, access) in enumerate(zip(made, step.accesses, strict=True)):
            if transfer.is_vector or (access.is_store, access.size) != (transfer.is_store, transfer.size):
                raise NoProof
            self._check_place(va, access)
            if transfer.is_store:
                self._cells[access.pa, access.size] = self._read(transfer.register, 8 * access.size)
                continue
            line = self._load(number, at, access)
            if word >> 28 & 3 != 0 and self._extends_sign(word):
                raise NoProof
            self._write(transfer.register, line)
        if writes_back(word):
            base = word >> 5 & 31
            self._x[base] = Line(int.from_bytes(following.registers[8 * base :][:8], "little"), 0)

    @staticmethod
    def _address_registers(word: int) -> tuple[int, ...]:
        rn = word >> 5 & 31
        if word >> 28 & 3 == 1 and not word >> 24 & 1:
            return ()  # literal
        by_register = word >> 28 & 3 == 3 and not word >> 24 & 1 and word >> 21 & 1
        return (rn, word >> 16 & 31) if by_register and word >> 16 & 31 != _ZR else (rn,)

    @staticmethod
    def _extends_sign(word: int) -> bool:
        group = word >> 28 & 3
        if group == 1:
            return word >> 30 == 2
        if group == 2:
            return word >> 30 == 1
        return bool(word >> 23 & 1)

    def _check_place(self, va: int, access: Access) -> None:
        # Cells do not overlap, nor is one that is stored to code of the loop.
        mine = range(access.pa, access.pa + access.size)
        for pa, size in self._cells:
            if (pa, size) != (access.pa, access.size) and pa < mine.stop and mine.start < pa + size:
                raise NoProof
        first, behind = self._code
        if access.is_store and va < behind and first < va + 16:
            raise NoProof

    def _load(self, number: int, at: int, access: Access) -> Line:
        place = access.pa, access.size
        if place not in self._cells:
            accesses = self._before[number].accesses
            if at >= len(accesses) or accesses[at][:3] != access[:3]:
                raise NoProof
            line = Line(access.value, access.value - accesses[at].value)
            self._ends(line, 8 * access.size)
            self._cells[place] = self._cells_begin[place] = line
        return self._cells[place]

    # -- branches ---------------------------------------------------------------------------------

    def _branch(self, step: Step) -> None:
        word = step.word
        if word >> 26 & 31 == 0b00101:  # B, BL
            if word >> 31:
                self._x[_X30] = Line(step.pc + 4, 0)
        elif word >> 25 & 63 == 0b011010:  # CBZ, CBNZ
            bits = 64 if word >> 31 else 32
            self._stays_equal(self._read(word & 31, bits), Line(0, 0), bits)
        elif word >> 25 & 63 == 0b011011:  # TBZ, TBNZ
            first, last = self._ends(self._read(word & 31))
            shift = (word >> 31 << 5) | word >> 19 & 31
            if first >> shift != last >> shift:
                raise NoProof
        elif word >> 24 == 0x54:  # B.cond
            self._condition(word & 15)
        elif word & 0xFF9F_FC1F == 0xD61F_0000:  # BR, BLR, RET
            self._constant(word >> 5 & 31)
            if word >> 21 & 3 == 1:
                self._x[_X30] = Line(step.pc + 4, 0)
        elif word not in (0xD503_201F, 0xD503_203F) and word & 0xFFFF_F09F != 0xD503_309F:
            raise NoProof  # other than NOP, YIELD, DSB, DMB, ISB

    def _condition(self, condition: int) -> None:
        # The condition is the same in all rounds.
        flags = self._flags
        which = condition >> 1
        if flags is None:
            raise NoProof
        a, b, bits = flags.a, flags.b, flags.bits
        if a is None or b is None or which == 7:  # AL
            return
        sign = 1 if flags.is_sum else -1
        if which in (0, 2) and (flags.is_sum or which == 2):
            a, b = self._line(a.value + sign * b.value, a.slope + sign * b.slope, bits), Line(0, 0)
        if which == 0:  # EQ, NE
            self._stays_equal(a, b, bits)
        elif which == 2:  # MI, PL
            self._stays_in_order(a, Line(1 << bits - 1, 0), bits, signed=False, strictly=False)
        elif flags.is_sum or which == 3:  # VS, VC
            raise NoProof
        elif which in (1, 4):  # CS, CC: a >= b; HI, LS: a > b
            self._stays_in_order(a, b, bits, signed=False, strictly=which == 4)
        else:  # GE, LT; GT, LE
            self._stays_in_order(a, b, bits, signed=True, strictly=which == 6)

    def _stays_equal(self, a: Line, b: Line, bits: int) -> None:
        # Equal in all rounds, or in none: their difference has one sign at both ends.
        (a0, a1), (b0, b1) = self._ends(a, bits), self._ends(b, bits)
        if ((a0 > b0) - (a0 < b0)) != ((a1 > b1) - (a1 < b1)):
            raise NoProof

    def _stays_in_order(self, a: Line, b: Line, bits: int, *, signed: bool, strictly: bool) -> None:
        (a0, a1), (b0, b1) = self._ends(a, bits, signed=signed), self._ends(b, bits, signed=signed)
        if (a0 > b0 if strictly else a0 >= b0) != (a1 > b1 if strictly else a1 >= b1):
            raise NoProof
