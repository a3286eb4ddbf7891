"""Arithmetic of properties: unsigned, 64 bits."""

from __future__ import annotations

from emu.properties.expression import Binary, Expression, Number, Unary

_ALL = 2**64 - 1


def negate(operator: str, value: int) -> int:
    """Return what ``!``, ``-`` or ``~`` makes of a value (u64)."""
    if operator == "!":
        return int(not value)
    return (-value if operator == "-" else ~value) & _ALL


def apply(operator: str, left: int, right: int) -> int:
    """Return what an operator makes of two values (u64)."""
    match operator:
        case "==":
            return int(left == right)
        case "!=":
            return int(left != right)
        case "<":
            return int(left < right)
        case ">":
            return int(left > right)
        case "<=":
            return int(left <= right)
        case ">=":
            return int(left >= right)
        case "&&":
            return int(bool(left) and bool(right))
        case "||":
            return int(bool(left) or bool(right))
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "&":
            return left & right
        case "<<":
            return left << right & _ALL if right < 64 else 0
        case ">>":
            return left >> right
        case "+":
            return left + right & _ALL
        case "-":
            return left - right & _ALL
    assert operator == "*", operator
    return left * right & _ALL


def folded(expression: Expression) -> int | None:
    """Return the value of an expression of numbers alone (u64), else None."""
    match expression:
        case Number(value):
            return value
        case Unary(operator, operand):
            inner = folded(operand)
            return None if inner is None else negate(operator, inner)
        case Binary(operator, left, right):
            first, second = folded(left), folded(right)
            return None if first is None or second is None else apply(operator, first, second)
    return None
