"""How the caller's registers come back at each instruction of a boot path: what .debug_frame says of it.

Boot code has no frame records, often no stack, and goes on in other functions by plain branches. So this
follows the code: a function that a BL leads to has its return address in X30; what is done to X30, SP and the
saved registers on the way to an instruction says where it is there. Behind a call that X30 was not kept from,
nobody has it any more: the function returns no more, and is the outermost one.

The code is followed from where CPUs start, up to secondary_start_kernel() and to vectors. Of these the first
instruction alone is known: what is behind it is C, which has its own rules.

:source: AAPCS64, 6.1.1 (registers); DWARF Debugging Information Format, version 5, 6.4
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from emu.arch import a64
from emu.arch.dataflow import flow_of
from emu.arch.operand import Transfer, access_va, transfers, writes_back
from emu.debug.leads import VECTOR_BYTES, VECTORS_BYTES, goes_on, made_address
from emu.subject import Subject

FP, LINK, SP = 29, 30, 31
CALLEE_SAVED = range(19, 30)
_GENERAL = (1 << 31) - 1  # X0 to X30
_CALLER_SAVED = (1 << 18) - 1  # X0 to X17
_STARTS = ("secondary_entry", "secondary_holding_pen", "__secondary_switched")
_PLAYED, _VECTORS = "secondary_start_kernel", ("vectors", "__hyp_stub_vectors")
_FOLLOWED_MAX = 30_000  # instructions; what lies behind them is not known
_U64 = 2**64 - 1


class Row(NamedTuple):
    """What is known right before an instruction. CFA is the SP that the function had at its entry.

    :ivar sp: CFA minus SP, bytes; None: SP is another stack's, and X29 is known
    :ivar fp: CFA minus X29, bytes; None: it is no frame pointer
    :ivar links: the registers that hold the return address, one bit each; X0 is bit 0
    :ivar slots: (register, bytes from CFA) of each that is in memory as it was at the entry; X30: where the
        return address is
    :ivar lost: the registers that have been written since the entry, one bit each
    """

    sp: int | None
    fp: int | None
    links: int
    slots: frozenset[tuple[int, int]]
    lost: int

    @property
    def base(self) -> tuple[int, int]:
        """The register that CFA is told by, SP or X29, and CFA minus it, in bytes."""
        if self.sp is None:
            assert self.fp is not None
            return FP, self.fp
        return SP, self.sp

    def where(self, register: int) -> tuple[str, int]:
        """Return where the caller's X0 to X30 is; X30 is the return address.

        :return: ("same", 0), ("register", its number), ("slot", bytes from CFA) or ("undefined", 0)
        """
        kept = self.links >> LINK & 1 if register == LINK else not self.lost >> register & 1
        if kept:
            return "same", 0
        slot = next((at for number, at in sorted(self.slots) if number == register), None)
        if slot is not None:
            return "slot", slot
        if register == LINK and self.links:
            return "register", (self.links & -self.links).bit_length() - 1
        return "undefined", 0


_CALLED = Row(0, None, 1 << LINK, frozenset(), 0)
_STARTED = _CALLED._replace(links=0)  # no function has called it


def after(row: Row, word: int) -> Row:
    """Return what is known behind an instruction, from what is known before it; a call has returned."""
    if a64.is_call(word):
        return row._replace(links=row.links & ~(1 << LINK), lost=row.lost | _CALLER_SAVED)
    if word & 0xFFE0_FFE0 == 0xAA00_03E0:  # MOV (register), 64 bits
        return _moved(row, word & 31, word >> 16 & 31)
    if word & 0xBF80_0000 == 0x9100_0000:  # ADD, SUB (immediate), 64 bits; MOV to and from SP
        return _added(row, word)
    flow = flow_of(word)
    if flow.is_memory:
        return _accessed(row, word, flow.writes)
    return _settled(_written(row, flow.writes))


def _written(row: Row, registers: int) -> Row:
    # These have been written, with values that are not known.
    fp = None if registers >> FP & 1 else row.fp
    if registers >> SP & 1:
        row = row._replace(sp=None)
    registers &= _GENERAL
    return row._replace(fp=fp, links=row.links & ~registers, lost=row.lost | registers)


def _settled(row: Row) -> Row:
    # Without SP and X29 the frame begins anew; what is below SP is nobody's.
    if row.sp is None:
        return row._replace(sp=0, slots=frozenset()) if row.fp is None else row
    below = -row.sp
    if all(at >= below for _, at in row.slots):
        return row
    return row._replace(slots=frozenset(slot for slot in row.slots if slot[1] >= below))


def _moved(row: Row, to: int, source: int) -> Row:
    if to == SP:  # XZR here
        return row
    holds = row.links >> source & 1
    return _settled(_written(row, 1 << to)._replace(links=row.links & ~(1 << to) | holds << to))


def _added(row: Row, word: int) -> Row:
    to, source = word & 31, word >> 5 & 31
    depth = row.sp if source == SP else row.fp if source == FP else None
    row = _written(row, 1 << to)
    if depth is not None:
        amount = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
        depth += amount if word >> 30 & 1 else -amount
        row = row._replace(sp=depth) if to == SP else row._replace(fp=depth) if to == FP else row
    return _settled(row)


def _accessed(row: Row, word: int, writes: int) -> Row:
    # Loads and stores; those by SP or the frame pointer may save and restore.
    base = word >> 5 & 31
    depth = row.sp if base == SP else row.fp if base == FP else None
    indexed = word >> 28 & 3 == 3 and not word >> 24 & 1 and word >> 21 & 1
    if word >> 24 & 0x3B == 0x18 or depth is None or indexed:  # a literal, another base, by a register
        changed = writes | (1 << base if writes_back(word) and base in (FP, SP) else 0)
        return _settled(_written(row, changed))
    at = _offset(word, depth)
    before, row = row, _written(row, writes & ~(1 << base) if writes_back(word) else writes)
    for access in transfers(word):
        row = _stored(before, row, access, at) if access.is_store else _loaded(before, row, access, at)
        at += access.size
    if writes_back(word):
        whole = word | (3 << 23 if word >> 28 & 3 == 2 else 3 << 10)  # as pre-indexed: the new base
        depth = -_offset(whole, depth)
        row = row._replace(sp=depth) if base == SP else row._replace(fp=depth, lost=row.lost | 1 << FP)
    return _settled(row)


def _offset(word: int, depth: int) -> int:
    # Bytes from CFA of what is accessed.
    bases = [0] * 32
    bases[word >> 5 & 31] = -depth & _U64
    found = access_va(word, 0, bases)
    return found - (found >> 63 << 64)


def _stored(before: Row, row: Row, access: Transfer, at: int) -> Row:
    slots = {slot for slot in row.slots if not at - 8 < slot[1] < at + access.size}
    register = access.register
    if access.size == 8 and not access.is_vector and register != SP:
        if before.links >> register & 1:
            slots.add((LINK, at))
        elif register in CALLEE_SAVED and not before.lost >> register & 1:
            slots.add((register, at))
    return row._replace(slots=frozenset(slots))


def _loaded(before: Row, row: Row, access: Transfer, at: int) -> Row:
    register = access.register
    if access.size == 8 and not access.is_vector and register != SP:
        if (LINK, at) in before.slots:
            return row._replace(links=row.links | 1 << register)
        if (register, at) in before.slots:
            return row._replace(lost=row.lost & ~(1 << register))
    return row


def _merged(one: Row, other: Row) -> Row:
    # What holds whichever way an instruction is come to.
    return _settled(
        Row(
            one.sp if one.sp == other.sp else None,
            one.fp if one.fp == other.fp else None,
            one.links & other.links,
            one.slots & other.slots,
            one.lost | other.lost,
        )
    )


class Unwinding:
    """The rows of a subject's boot path.

    :ivar rows: by PA of the instruction
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.rows: dict[int, Row] = {}
        self._addresses: set[int] = set()  # PAs whose address the code makes
        self._ends = set(self._known((_PLAYED,)))
        for pa in self._known(_VECTORS):
            self._take_vectors(pa)
        roots = self._known(_STARTS)
        while roots:
            for pa in roots:
                if pa not in self.rows:
                    self._enter(pa)
            roots = sorted(self._addresses - self.rows.keys() - self._ends)
            self._addresses.clear()

    def row(self, pa: int, *, called: bool) -> Row | None:
        """Return what is known right before the instruction at ``pa``, or None.

        :param called: ``pa`` is a return address: the call before it has not returned yet
        """
        if not called:
            return self.rows.get(pa)
        before, word = self.rows.get(pa - 4), self.word(pa - 4)
        return None if before is None or word is None or not a64.is_call(word) else after(before, word)

    def word(self, pa: int) -> int | None:
        """Return the instruction word (u32) that was loaded at a PA, or None."""
        for segment in self._subject.segments:
            at = pa - segment.pa
            if 0 <= at <= len(segment.data) - 4:
                return int.from_bytes(segment.data[at : at + 4], "little")
        return None

    def _enter(self, pa: int) -> None:
        # An instruction that code comes to, but by no branch or call that is known.
        self._follow([(pa, _CALLED if self._returns(pa) else _STARTED)], self.rows)

    def _known(self, names: tuple[str, ...]) -> list[int]:
        # PAs of those symbols that there are.
        found = [self._subject.symbols.address(name) for name in names]
        return [self._pa_of(va) for va in found if va is not None]

    def _take_vectors(self, pa: int) -> None:
        # The return address of a vector is in ELR_ELx.
        for at in range(pa, pa + VECTORS_BYTES, VECTOR_BYTES):
            self._ends.add(at)
            self.rows[at] = _STARTED

    def _returns(self, pa: int) -> bool:
        # Whether a function that is entered in a way not known is called: it returns by the X30 it came with.
        rows: dict[int, Row] = {}
        self._follow([(pa, _CALLED)], rows, calls=False)
        for at, row in rows.items():
            word = self.word(at)
            register = None if word is None else a64.returns_by(word)
            if register is not None and row.links >> register & 1:
                return True
        return False

    def _follow(self, ahead: list[tuple[int, Row]], rows: dict[int, Row], *, calls: bool = True) -> None:
        # Take rows on along branches, and into the functions that are called, until nothing changes.
        while ahead:
            pa, row = ahead.pop()
            word = self.word(pa)
            if word is None or not word >> 27 & 3 or (pa not in rows and len(rows) >= _FOLLOWED_MAX):
                continue  # no code
            known = rows.get(pa)
            row = row if known is None else _merged(known, row)
            if row == known:
                continue
            rows[pa] = row
            if pa in self._ends:
                continue
            behind = after(row, word)
            ahead += [(to, behind) for to in self._successors(pa, word)]
            if calls:
                ahead += [(to, _CALLED) for to in self._called_by(pa, word)]

    @staticmethod
    def _successors(pa: int, word: int) -> Iterable[int]:
        if goes_on(word):
            yield pa + 4
        branch = a64.branch_target(word, pa)
        if branch is not None:
            yield branch

    def _called_by(self, pa: int, word: int) -> Iterable[int]:
        called = a64.call_target(word, pa)
        if called is not None:
            yield called
        made = made_address(self.word, self._pa_of, pa, word)
        if made is not None and self._is_symbol(made):
            self._addresses.add(made)

    def _is_symbol(self, pa: int) -> bool:
        # Whether a symbol, of code as far as is known, is right there.
        found = self._subject.symbols.at((pa + self._subject.va_offset) & _U64)
        return found is not None and not found[1]

    def _pa_of(self, va: int) -> int:
        return (va - self._subject.va_offset) & _U64 if va >> 63 else va


class Unwindings:
    """The rows of what is debugged; made when they are asked for, again after a kexec."""

    def __init__(self, subject: Callable[[], Subject]) -> None:
        self._subject = subject
        self._made: Unwinding | None = None
        self._of: Subject | None = None

    def __call__(self) -> Unwinding:
        """Return those of the subject that the CPUs run now."""
        subject = self._subject()
        if self._made is None or self._of is not subject:
            self._made, self._of = Unwinding(subject), subject
        return self._made
