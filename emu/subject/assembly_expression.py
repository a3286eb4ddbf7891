"""Constant expressions of assembly text, with GNU as's precedence.

:source: GNU as manual, section Expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


class NotConstant(ValueError):
    """The expression names a label, the location counter or an undefined symbol."""


_TOKEN = re.compile(
    r"\s*(0[xX][\da-fA-F]+|0[bB][01]+|\d+|[A-Za-z_.$][\w.$]*|<<|>>|&&|\|\||[<>=!]=|<>|[-+*/%~!()&|^<>])"
)
# GNU as binds shifts like a multiplication, and bit operations tighter than a sum.
_PRECEDENCE = {
    **dict.fromkeys(("*", "/", "%", "<<", ">>"), 5),
    **dict.fromkeys(("|", "&", "^"), 4),
    **dict.fromkeys(("+", "-"), 3),
    **dict.fromkeys(("==", "!=", "<>", "<", ">", "<=", ">="), 2),
    "&&": 1,
    "||": 0,
}


def evaluate(text: str, constants: Mapping[str, int]) -> int:
    """Return the value of a constant expression, signed 64 bits, with GNU as's precedence.

    :raises ValueError: malformed, or a name in it is not a constant
    """
    tokens: list[str] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:].strip()!r} is not part of an expression")
        tokens.append(match[1])
        position = match.end()
    tokens.reverse()  # so that pop() takes the next one

    def primary() -> int:
        if not tokens:
            raise ValueError("the expression ends too early")
        token = tokens.pop()
        if token == "(":
            inner = binary(0)
            if not tokens or tokens.pop() != ")":
                raise ValueError("a ) is missing")
            return inner
        if token in "+-~!":
            operand = primary()
            return {"+": operand, "-": -operand, "~": ~operand, "!": int(not operand)}[token]
        if token[0].isdigit():
            return literal(token)
        if token in constants:
            return constants[token]
        raise NotConstant(f"{token} is not a constant")

    def binary(weakest: int) -> int:
        left = primary()
        while tokens and _PRECEDENCE.get(tokens[-1], -1) >= weakest:
            operator = tokens.pop()
            left = _apply(operator, left, binary(_PRECEDENCE[operator] + 1))
        return left

    value = binary(0)
    if tokens:
        raise ValueError(f"{tokens[-1]!r} is not expected here")
    return _signed(value)


def _apply(operator: str, left: int, right: int) -> int:
    # True is -1, as in GNU as; division truncates toward zero.
    if operator in ("/", "%"):
        if right == 0:
            raise ValueError("division by zero")
        quotient = abs(left) // abs(right) * (-1 if (left < 0) != (right < 0) else 1)
        return quotient if operator == "/" else left - quotient * right
    if operator in ("<<", ">>") and not 0 <= right < 64:
        raise ValueError(f"shift by {right}")
    operations: dict[str, Callable[[int, int], int]] = {
        "*": lambda a, b: a * b,
        "<<": lambda a, b: a << b,
        ">>": lambda a, b: (a % 2**64) >> b,
        "|": lambda a, b: a | b,
        "&": lambda a, b: a & b,
        "^": lambda a, b: a ^ b,
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "==": lambda a, b: -(a == b),
        "!=": lambda a, b: -(a != b),
        "<>": lambda a, b: -(a != b),
        "<": lambda a, b: -(a < b),
        ">": lambda a, b: -(a > b),
        "<=": lambda a, b: -(a <= b),
        ">=": lambda a, b: -(a >= b),
        "&&": lambda a, b: int(bool(a) and bool(b)),
        "||": lambda a, b: int(bool(a) or bool(b)),
    }
    return _signed(operations[operator](left, right))


def literal(token: str) -> int:
    """Return the value of a number as GNU as writes it; a leading 0 means octal.

    :raises ValueError: not a number
    """
    try:
        return int(token, 8) if re.fullmatch(r"0\d+", token) else int(token, 0)
    except ValueError:
        raise ValueError(f"{token[:40]} is not a number") from None


def _signed(value: int) -> int:
    # The value as a signed 64-bit number.
    return (value + 2**63) % 2**64 - 2**63
