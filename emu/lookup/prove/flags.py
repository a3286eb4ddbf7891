"""NZCV: kept as what set it, so that a condition is one comparison and not four flags of it.

Source: Arm DDI 0487, C1.2.4 (condition codes), shared/functions/integer/AddWithCarry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value


class Flags(Protocol):
    """The four flags."""

    @property
    def nzcv(self) -> tuple[Truth, Truth, Truth, Truth]:
        """N, Z, C and V."""

    def holds(self, pair: int) -> Truth:
        """Tell whether the condition of bits 3:1 ``pair`` holds: 0 EQ, 1 CS, 2 MI, 3 VS, 4 HI, 5 GE, 6 GT."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Flags that are known one by one."""

    nzcv: tuple[Truth, Truth, Truth, Truth]

    def holds(self, pair: int) -> Truth:
        """Tell whether the condition holds."""
        negative, zero, carry, overflow = self.nzcv
        if pair < 4:
            return (zero, carry, negative, overflow)[pair]
        if pair == 4:
            return bits.every(carry, bits.negate(zero))
        at_least = bits.same(negative, overflow)
        return at_least if pair == 5 else bits.every(at_least, bits.negate(zero))


@dataclass(frozen=True, slots=True)
class Subtracted:
    """Flags of a - b."""

    a: Value
    b: Value
    width: int

    @property
    def nzcv(self) -> tuple[Truth, Truth, Truth, Truth]:
        """N, Z, C and V."""
        negative = bits.bit(bits.sub(self.a, self.b, self.width), self.width - 1)
        overflow = bits.negate(bits.same(negative, bits.below_signed(self.a, self.b, self.width)))
        return negative, self.holds(0), self.holds(1), overflow

    def holds(self, pair: int) -> Truth:
        """Tell whether the condition holds."""
        a, b, width = self.a, self.b, self.width
        if pair == 0:
            return bits.equal(a, b, width)
        if pair == 1:
            return bits.negate(bits.below(a, b, width))
        if pair in (2, 3):
            return self.nzcv[0 if pair == 2 else 3]
        if pair == 4:
            return bits.below(b, a, width)
        return bits.negate(bits.below_signed(a, b, width)) if pair == 5 else bits.below_signed(b, a, width)


def added(a: Value, b: Value, carry: Truth, width: int) -> tuple[Value, Plain]:
    """Return a + b + carry and its flags."""
    one = bits.choose(carry, 1, 0, width + 1)
    whole = bits.add(
        bits.add(bits.widen(a, width, width + 1), bits.widen(b, width, width + 1), width + 1), one, width + 1
    )
    result = bits.part(whole, width - 1, 0)
    top = width - 1
    overflow = bits.every(
        bits.same(bits.bit(a, top), bits.bit(b, top)),
        bits.negate(bits.same(bits.bit(a, top), bits.bit(result, top))),
    )
    return result, Plain(
        (bits.bit(result, top), bits.equal(result, 0, width), bits.bit(whole, width), overflow)
    )


def of_result(result: Value, width: int) -> Plain:
    """Return the flags of a logical instruction."""
    return Plain((bits.bit(result, width - 1), bits.equal(result, 0, width), False, False))


def of_number(nzcv: int) -> Plain:
    """Return flags from four bits."""
    return Plain((bool(nzcv & 8), bool(nzcv & 4), bool(nzcv & 2), bool(nzcv & 1)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Flags ``a`` where the condition holds, else ``b``: of two paths that came together; mostly unused."""

    condition: Truth
    a: Flags
    b: Flags

    @property
    def nzcv(self) -> tuple[Truth, Truth, Truth, Truth]:
        """N, Z, C and V."""
        pairs = zip(self.a.nzcv, self.b.nzcv, strict=True)
        negative, zero, carry, overflow = (bits.select(self.condition, one, two) for one, two in pairs)
        return negative, zero, carry, overflow

    def holds(self, pair: int) -> Truth:
        """Tell whether the condition holds."""
        return bits.select(self.condition, self.a.holds(pair), self.b.holds(pair))


def chosen(condition: Truth, a: Flags, b: Flags) -> Flags:
    """Return flags a where the condition holds, else b."""
    if isinstance(condition, bool):
        return a if condition else b
    return a if a is b else Chosen(condition, a, b)


def condition(flags: Flags, code: int) -> Truth:
    """Tell whether condition code 0..15 holds; 14 and 15 always do."""
    if code >= 14:
        return True
    found = flags.holds(code >> 1)
    return bits.negate(found) if code & 1 else found
