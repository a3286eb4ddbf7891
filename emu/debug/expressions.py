"""Conditions of breakpoints: registers, symbols and memory, of the CPU that reached the breakpoint.

``x0 == 3 and [cpu_boot_data + 16] != 0``: x0..x30, sp, pc, el, cpu, hwid; a symbol is its VA; ``[address]``
is the u64 there, ``u32[address]``, ``u16[...]`` and ``u8[...]`` narrower ones; operators are Python's. A
system register goes by its name, in either case, and a field of it by ``ESR_EL1.EC``. ``$`` may stand before
a register, as in gdb.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Protocol

from emu.errors import InvalidCase

_LENGTH_MAX = 200
_BINARY: dict[type[ast.AST], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.RShift: lambda a, b: a >> (b & 63),
    ast.LShift: lambda a, b: a << (b & 63),
}
_COMPARE: dict[type[ast.AST], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_BARE = re.compile(r"(?<![\w\]])\[")
_DOLLAR = re.compile(r"\$(?=[A-Za-z])")  # before a register, as gdb has it


class Where(Protocol):
    """The CPU on which an expression is evaluated."""

    def value_of(self, name: str) -> int | None:
        """Return a register or the VA of a symbol, or None."""
        ...

    def field_of(self, name: str, field: str) -> int:
        """Return a field of a system register.

        :raises InvalidCase: there is no such register, or no such field
        """
        ...

    def read_at(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes at a VA or PA; fewer where memory ends."""
        ...


def evaluate(text: str, where: Where) -> int:
    """Return the value of an expression, u64; of a comparison 0 or 1.

    :raises InvalidCase: not an expression, an unknown name, or a read outside of memory
    """
    if len(text) > _LENGTH_MAX:
        raise InvalidCase(f"{text[:40]}...: at most {_LENGTH_MAX} characters")
    try:
        tree = ast.parse(_BARE.sub("u64[", _DOLLAR.sub("", text.strip())), mode="eval")
        return _Evaluator(where).value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidCase(f"{text}: not an expression; such as x0 == 3 and [symbol + 8] != 0") from None


class _Evaluator:
    def __init__(self, where: Where) -> None:
        self._where = where

    def value(self, node: ast.AST) -> int:
        match node:
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                if number >> 64:
                    raise InvalidCase(f"{number:#x}: a number has 64 bits at most")
                return number
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(ast.Name(id=name), field):
                return self._where.field_of(name, field)
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return _BINARY[type(op)](self.value(left), self.value(right)) % 2**64
            case ast.UnaryOp(ast.Not(), operand):
                return int(not self.value(operand))
            case ast.UnaryOp(ast.USub(), operand):
                return -self.value(operand) % 2**64
            case ast.UnaryOp(ast.Invert(), operand):
                return ~self.value(operand) % 2**64
            case ast.BoolOp(ast.And(), values):
                return int(all(self.value(each) for each in values))
            case ast.BoolOp(ast.Or(), values):
                return int(any(self.value(each) for each in values))
            case ast.Compare(left, ops, others) if all(type(op) in _COMPARE for op in ops):
                found = [self.value(each) for each in (left, *others)]
                pairs = zip(ops, found, found[1:], strict=False)
                return int(all(_COMPARE[type(op)](a, b) for op, a, b in pairs))
            case ast.Subscript(ast.Name(id=width), index) if width in _WIDTHS:
                return self._memory(self.value(index), _WIDTHS[width])
        raise ValueError(ast.dump(node))

    def _name(self, name: str) -> int:
        value = self._where.value_of(name)
        if value is None:
            raise InvalidCase(f"{name}: neither a register nor a symbol")
        return value

    def _memory(self, address: int, size: int) -> int:
        data = self._where.read_at(address, size)
        if len(data) < size:
            raise InvalidCase(f"[{address:#x}]: no memory there")
        return int.from_bytes(data, "little")
