"""Rounds of a waiting loop: what a PE executes from one WFE to the next, and which words decide it.

A PE that waits for a word wakes, loads the word, compares it, and waits again. Everything but the word is
the same in each round. So one round that was executed says what every other does: which values of the word
let the PE wait again, and what is in the registers then.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from emu.arch import a64
from emu.arch.a64 import Other
from emu.arch.dataflow import flow_of
from emu.arch.operand import transfers, writes_back
from emu.operation import Kind

_NZCV = 1 << 32  # of a Flow's sets
_EQ, _NE = 0, 1
_ALL = {4: 2**32 - 1, 8: 2**64 - 1}


class _Registers(Protocol):
    def __getitem__(self, number: int, /) -> int: ...


class Look(NamedTuple):
    """A load of a round: PA and bytes."""

    pa: int
    size: int


class Compare(NamedTuple):
    """What a word is compared to: the value of a register that the round does not change, or a number.

    :ivar load: number of the load in the round
    :ivar size: of both, in bytes
    :ivar register: 0..30, or -1: it is ``number`` (u64)
    :ivar is_second: the word is what is subtracted
    """

    load: int
    size: int
    register: int
    number: int
    is_second: bool

    def other(self, x: _Registers) -> int:
        """Return what the word is compared to, of a PE with these registers."""
        return (self.number if self.register < 0 else x[self.register]) & _ALL[self.size]

    def nzcv(self, word: int, other: int) -> int:
        """Return the flags in bits 31:28 after CMP."""
        every = _ALL[self.size]
        first, second = (other, word & every) if self.is_second else (word & every, other)
        result, top = first - second & every, self.size * 8 - 1
        overflow = (first ^ second) & (first ^ result)
        return result >> top << 31 | (not result) << 30 | (first >= second) << 29 | overflow >> top << 28


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    :ivar code: VA and word of each instruction
    :ivar looks: its loads
    :ivar guards: the comparisons that decide its branches, and whether both are equal when it waits again
    :ivar results: registers that hold what a load has loaded, and the number of the load
    :ivar flags: the comparison that the flags are of at its end, or None: no word decides them
    """

    code: tuple[tuple[int, int], ...]
    looks: tuple[Look, ...]
    guards: tuple[tuple[Compare, bool], ...]
    results: tuple[tuple[int, int], ...]
    flags: Compare | None


def understand(code: tuple[tuple[int, int], ...], looks: tuple[Look, ...]) -> Round | None:
    """Return the round that executes ``code`` and ends in the state that it began in; None: not understood.

    :param code: VA and word of each instruction in the order of execution; the last is WFE
    :param looks: its loads, in order
    """
    varying = 0
    for _ in range(2):  # what a round leaves behind must not decide the next one
        reader = _Reader(code, looks, varying)
        if not reader.read():
            return None
        varying = reader.varying
    results = tuple(sorted(reader.held.items()))
    return Round(code, looks, tuple(reader.guards), results, reader.flags)


class _Reader:
    # Follows the loaded words through a round.

    def __init__(self, code: tuple[tuple[int, int], ...], looks: tuple[Look, ...], varying: int) -> None:
        self.varying = varying  # registers and flags that are not the same in each round
        self.held: dict[int, int] = {}  # by register, the load whose word it holds
        self.flags: Compare | None = None
        self.guards: list[tuple[Compare, bool]] = []
        self._code = code
        self._looks = looks
        self._loads = 0
        written = [flow_of(word).writes for _, word in code]
        self._written = 0
        for each in written:
            self._written |= each

    def read(self) -> bool:
        """Tell whether every instruction is understood."""
        return (
            all(self._instruction(va, word, after) for (va, word), (after, _) in pairwise(self._code))
            and a64.classify(self._code[-1][1]) is Kind.WFE
            and self._loads == len(self._looks)
        )

    def _instruction(self, va: int, word: int, after: int) -> bool:
        kind, flow = a64.classify(word), flow_of(word)
        if kind is Other.ACCESS:
            return self._load(word, flow.reads)
        if kind is not Other.INVISIBLE:
            return kind in (Kind.WFE, Kind.BARRIER)
        if not flow.reads & self.varying:
            self._forget(flow.writes)
            return True
        return self._compare(word) or self._branch(va, word, after)

    def _load(self, word: int, reads: int) -> bool:
        # Of one general register, whole or with zeros in front.
        found = transfers(word)
        if len(found) != 1 or found[0].is_store or found[0].is_vector or writes_back(word):
            return False
        is_literal = word >> 28 & 3 == 1
        signs = word >> 30 == 2 if is_literal else word >> 23 & 1
        look = self._looks[self._loads] if self._loads < len(self._looks) else Look(0, 0)
        if word >> 28 & 3 == 0 or signs or reads & self.varying or look.size != found[0].size:
            return False
        if found[0].register != 31:
            self._forget(1 << found[0].register)
            self.varying |= 1 << found[0].register
            self.held[found[0].register] = self._loads
        self._loads += 1
        return True

    def _forget(self, written: int) -> None:
        self.varying &= ~written
        if written & _NZCV:
            self.flags = None
        for register in [register for register in self.held if written >> register & 1]:
            del self.held[register]

    def _compare(self, word: int) -> bool:
        # CMP of a loaded word with a register that stays as it is, or with a number.
        size = 8 if word >> 31 else 4
        first, second = word >> 5 & 31, word >> 16 & 31
        if word & 0x7F80_001F == 0x7100_001F and first in self.held:
            number = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
            compare = Compare(self.held[first], size, -1, number, False)
        elif word & 0x7FE0_FC1F == 0x6B00_001F:
            load, other = self.held.get(first), second
            if load is None:
                load, other = self.held.get(second), first
            if load is None or other != 31 and self._written >> other & 1:
                return False
            compare = Compare(load, size, -1 if other == 31 else other, 0, first not in self.held)
        else:
            return False
        self.varying |= _NZCV
        self.flags = compare
        return True

    def _branch(self, va: int, word: int, after: int) -> bool:
        # B.EQ and B.NE on such a comparison, CBZ and CBNZ of a loaded word.
        target = a64.branch_target(word, va)
        if target is None or target == va + 4:
            return False
        if word >> 24 == 0x54 and word & 31 in (_EQ, _NE) and self.flags is not None:
            compare, wants_equal = self.flags, word & 31 == _EQ
        elif word >> 25 & 0x3F == 0x1A and word & 31 in self.held:
            compare = Compare(self.held[word & 31], 8 if word >> 31 else 4, -1, 0, False)
            wants_equal = not word >> 24 & 1
        else:
            return False
        self.guards.append((compare, wants_equal == (after == target)))
        return True
