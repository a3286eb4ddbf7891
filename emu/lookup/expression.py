"""Integer expressions of a contract: entries of a table, instructions that a lookup may cost."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from emu.errors import InvalidContract

LENGTH_MAX = 200  # characters
VALUE_MAX = 2**64  # no value on the way may reach it, up or down
SYNTAX = "integers (decimal or 0x), names, + - * // % << >> & | ( ), max(a, b), min(a, b), log2(n)"

_TOKENS = re.compile(
    r"(?:(?:0[xX][0-9a-fA-F]+|[0-9]+)(?![0-9A-Za-z_])|[A-Za-z_][A-Za-z_0-9]*|//|<<|>>|[-+*%&|(),]|[ \t])+"
)


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise InvalidContract("divides by zero")
    return left // right


def _modulo(left: int, right: int) -> int:
    if right == 0:
        raise InvalidContract("divides by zero")
    return left % right


def _shift(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def shift(left: int, right: int) -> int:
        if not 0 <= right < 64:
            raise InvalidContract(f"shifts by {right}: 0..63")
        return function(left, right)

    return shift


def _log2(value: int) -> int:
    # Rounded up: the steps that halving takes.
    if value < 1:
        raise InvalidContract(f"log2({value}): of 1 and more")
    return (value - 1).bit_length()


_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: _divide,
    ast.Mod: _modulo,
    ast.LShift: _shift(operator.lshift),
    ast.RShift: _shift(operator.rshift),
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_CALLS: dict[str, tuple[int, Callable[..., int]]] = {"max": (2, max), "min": (2, min), "log2": (1, _log2)}


def evaluate(text: str, names: Mapping[str, int]) -> int:
    """Return the value of an expression such as ``200 + 40 * NR_CPUS`` or ``8 * log2(NR_CPUS + 1)``.

    ``//`` and ``%`` round down, as in Python; ``log2`` rounds up: ``log2(5)`` is 3, ``log2(1)`` is 0.

    :param names: value of each name that it may use
    :return: an integer between -2^64 and 2^64, both not reached
    :raises InvalidContract: not such an expression, an unknown name, a value out of range
    """
    try:
        return _value(_parse(text), names)
    except InvalidContract as error:
        raise InvalidContract(f"{text[:80]!r}: {error}") from None


def names_of(text: str) -> frozenset[str]:
    """Return the names that an expression uses, functions aside.

    :raises InvalidContract: not an expression
    """
    try:
        tree = _parse(text)
    except InvalidContract as error:
        raise InvalidContract(f"{text[:80]!r}: {error}") from None
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions
    )


@lru_cache(maxsize=256)
def _parse(text: str) -> ast.expr:
    # Nothing but the tokens of SYNTAX comes to Python's parser.
    if len(text) > LENGTH_MAX:
        raise InvalidContract(f"over {LENGTH_MAX} characters")
    if not text.strip():
        raise InvalidContract("nothing to evaluate")
    if not _TOKENS.fullmatch(text):
        raise InvalidContract(f"one of {SYNTAX}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidContract(f"one of {SYNTAX}") from None


def _value(node: ast.expr, names: Mapping[str, int]) -> int:
    # LENGTH_MAX bounds the depth.
    found: int | None = None
    if isinstance(node, ast.Constant) and type(node.value) is int:
        found = node.value
    elif isinstance(node, ast.Name):
        if node.id not in names:
            raise InvalidContract(f"{node.id} is not defined; there is {', '.join(names) or 'nothing'}")
        found = names[node.id]
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        found = _UNARY[type(node.op)](_value(node.operand, names))
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        found = _BINARY[type(node.op)](_value(node.left, names), _value(node.right, names))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        arguments, function = _CALLS[node.func.id]
        if len(node.args) != arguments or node.keywords:
            raise InvalidContract(f"{node.func.id} takes {arguments} value{'s' if arguments > 1 else ''}")
        found = function(*(_value(argument, names) for argument in node.args))
    if found is None:
        raise InvalidContract(f"one of {SYNTAX}")
    if not -VALUE_MAX < found < VALUE_MAX:
        raise InvalidContract("a value on the way does not fit 64 bits")
    return found
