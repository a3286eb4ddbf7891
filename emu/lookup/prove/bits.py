"""Bit vectors that are numbers as long as they can be: an int, else a z3 expression that is no constant.

Values are unsigned and of the width that the caller says. With ints alone no function here makes an
expression, so semantics written in them can be held against the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import z3

Value: TypeAlias = int | z3.BitVecRef
Truth: TypeAlias = bool | z3.BoolRef


def mask(width: int) -> int:
    """Return ``width`` ones."""
    return (1 << width) - 1


def bv(value: Value, width: int) -> z3.BitVecRef:
    """Return ``value`` as an expression."""
    return z3.BitVecVal(value, width) if isinstance(value, int) else value


def simple(expression: z3.ExprRef) -> Value:
    """Return a bit vector simplified, as an int where it is a constant."""
    found = z3.simplify(expression)
    return found.as_long() if isinstance(found, z3.BitVecNumRef) else found


def truth(expression: z3.BoolRef) -> Truth:
    """Return a condition simplified, as a bool where it is a constant."""
    found = z3.simplify(expression)
    if z3.is_true(found):
        return True
    return False if z3.is_false(found) else found


def boolean(value: Truth) -> z3.BoolRef:
    """Return a condition as an expression."""
    return z3.BoolVal(value) if isinstance(value, bool) else value


def add(a: Value, b: Value, width: int) -> Value:
    """Return a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b & mask(width)
    if b == 0 and isinstance(b, int):
        return a
    return simple(bv(a, width) + bv(b, width))


def sub(a: Value, b: Value, width: int) -> Value:
    """Return a - b."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b & mask(width)
    return simple(bv(a, width) - bv(b, width))


def mul(a: Value, b: Value, width: int) -> Value:
    """Return a * b, its low half."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b & mask(width)
    return simple(bv(a, width) * bv(b, width))


def both(a: Value, b: Value, width: int) -> Value:
    """Return a AND b."""
    if isinstance(a, int) and isinstance(b, int):
        return a & b
    return simple(bv(a, width) & bv(b, width))


def either(a: Value, b: Value, width: int) -> Value:
    """Return a OR b."""
    if isinstance(a, int) and isinstance(b, int):
        return a | b
    return simple(bv(a, width) | bv(b, width))


def differ(a: Value, b: Value, width: int) -> Value:
    """Return a EOR b."""
    if isinstance(a, int) and isinstance(b, int):
        return a ^ b
    return simple(bv(a, width) ^ bv(b, width))


def invert(a: Value, width: int) -> Value:
    """Return NOT a."""
    return a ^ mask(width) if isinstance(a, int) else simple(~a)


def left(a: Value, by: Value, width: int) -> Value:
    """Return a shifted left; ``by`` is less than the width, and of that width."""
    if isinstance(a, int) and isinstance(by, int):
        return a << by & mask(width)
    return simple(bv(a, width) << bv(by, width))


def right(a: Value, by: Value, width: int) -> Value:
    """Return a shifted right, zeros in."""
    if isinstance(a, int) and isinstance(by, int):
        return a >> by
    return simple(z3.LShR(bv(a, width), bv(by, width)))


def signed_right(a: Value, by: Value, width: int) -> Value:
    """Return a shifted right, copies of the sign in."""
    if isinstance(a, int) and isinstance(by, int):
        return signed(a, width) >> by & mask(width)
    return simple(bv(a, width) >> bv(by, width))


def rotate(a: Value, by: Value, width: int) -> Value:
    """Return a rotated right."""
    if isinstance(a, int) and isinstance(by, int):
        return (a >> by | a << width - by) & mask(width)
    return simple(z3.RotateRight(bv(a, width), bv(by, width)))


def part(a: Value, high: int, low: int) -> Value:
    """Return bits high:low."""
    if isinstance(a, int):
        return a >> low & mask(high - low + 1)
    if low == 0 and high == a.size() - 1:
        return a
    return simple(z3.Extract(high, low, a))


def widen(a: Value, width: int, to: int) -> Value:
    """Return a with zeros in front."""
    return a if isinstance(a, int) or width == to else simple(z3.ZeroExt(to - width, a))


def widen_signed(a: Value, width: int, to: int) -> Value:
    """Return a with copies of its sign in front."""
    if isinstance(a, int):
        return signed(a, width) & mask(to)
    return a if width == to else simple(z3.SignExt(to - width, a))


def join(parts: Sequence[Value], width: int) -> Value:
    """Return ``parts`` of ``width`` bits each as one, the first lowest."""
    if all(isinstance(each, int) for each in parts):
        return sum(each << width * place for place, each in enumerate(parts) if isinstance(each, int))
    if len(parts) == 1:
        return parts[0]
    return simple(z3.Concat(*(bv(each, width) for each in reversed(parts))))


def choose(condition: Truth, a: Value, b: Value, width: int) -> Value:
    """Return a where the condition holds, else b."""
    if isinstance(condition, bool):
        return a if condition else b
    if isinstance(a, int) and isinstance(b, int) and a == b:
        return a
    return simple(z3.If(condition, bv(a, width), bv(b, width)))


def equal(a: Value, b: Value, width: int) -> Truth:
    """Tell whether a is b."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return truth(bv(a, width) == bv(b, width))


def below(a: Value, b: Value, width: int) -> Truth:
    """Tell whether a is less than b, unsigned."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return truth(z3.ULT(bv(a, width), bv(b, width)))


def below_signed(a: Value, b: Value, width: int) -> Truth:
    """Tell whether a is less than b, signed."""
    if isinstance(a, int) and isinstance(b, int):
        return signed(a, width) < signed(b, width)
    return truth(bv(a, width) < bv(b, width))


def bit(a: Value, number: int) -> Truth:
    """Tell whether a bit is set."""
    if isinstance(a, int):
        return bool(a >> number & 1)
    return truth(z3.Extract(number, number, a) == 1)


def negate(condition: Truth) -> Truth:
    """Return the opposite."""
    return not condition if isinstance(condition, bool) else truth(z3.Not(condition))


def every(*conditions: Truth) -> Truth:
    """Tell whether all hold."""
    if any(each is False for each in conditions):
        return False
    left_over = [each for each in conditions if not isinstance(each, bool)]
    return truth(z3.And(*left_over)) if left_over else True


def some(*conditions: Truth) -> Truth:
    """Tell whether any holds."""
    if any(each is True for each in conditions):
        return True
    left_over = [each for each in conditions if not isinstance(each, bool)]
    return truth(z3.Or(*left_over)) if left_over else False


def is_same(a: Value, b: Value) -> bool:
    """Tell whether two values are the same without a question to the solver."""
    if isinstance(a, int) or isinstance(b, int):
        return type(a) is type(b) and a == b
    return bool(a.eq(b))


def same(a: Truth, b: Truth) -> Truth:
    """Tell whether both hold or none."""
    if isinstance(a, bool) and isinstance(b, bool):
        return a == b
    return truth(boolean(a) == boolean(b))


def select(condition: Truth, a: Truth, b: Truth) -> Truth:
    """Return condition a where the first holds, else b."""
    if isinstance(condition, bool):
        return a if condition else b
    if isinstance(a, bool) and isinstance(b, bool) and a == b:
        return a
    return truth(z3.If(condition, boolean(a), boolean(b)))


def signed(value: int, width: int) -> int:
    """Return a number as two's complement of ``width`` bits says it."""
    return value - (1 << width) if value >> width - 1 else value


def symbols(value: z3.ExprRef) -> Iterator[z3.ExprRef]:
    """Yield the symbols in an expression, each once."""
    todo, seen = [value], set[int]()
    while todo:
        each = todo.pop()
        if each.get_id() not in seen:
            seen.add(each.get_id())
            if z3.is_const(each) and each.decl().kind() == z3.Z3_OP_UNINTERPRETED:
                yield each
            todo += each.children()
