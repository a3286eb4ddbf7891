"""NR_CPUS at which the conditions of assembly text change: what is assembled there is other code.

``.if NR_CPUS > 512`` leaves no trace in the code of other NR_CPUS. Conditions are evaluated for each NR_CPUS,
with the names that the text defines by NR_CPUS. What cannot be evaluated is left to the numbers in it
(:func:`emu.lookup.constants.counts_in_text`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

from emu.arch.boot import NR_CPUS_MAX

_CHANGES_MAX = 2  # of one condition: the first of them, and the last
_TEXT_MAX = 200  # characters of a condition
_NUMBER_MAX = 2**64
_CONDITION = re.compile(r"^[ \t]*[.#][ \t]*(?:if|elseif|elif)(eq|ne|ge|gt|le|lt)?\b(.*)$", re.MULTILINE)
_DEFINITION = re.compile(
    r"^[ \t]*(?:#[ \t]*define[ \t]+(\w+)[ \t]+|\.(?:equ|set|equiv)[ \t]+(\w+)[ \t]*,|(\w+)[ \t]*=(?!=))(.*)$",
    re.MULTILINE,
)
_REMARK = re.compile(r"//.*|/\*.*?\*/|;.*")
# As Python says it: GNU C and GNU as agree on these, but for how tightly the bit operators bind.
_SPELT = (("&&", " and "), ("||", " or "), ("<>", "!="), ("/", "//"))
_NOT = re.compile(r"!(?!=)")
_DECIDES: dict[str, Callable[[int], bool]] = {
    "": lambda value: value != 0,
    "eq": lambda value: value == 0,
    "ne": lambda value: value != 0,
    "ge": lambda value: value >= 0,
    "gt": lambda value: value > 0,
    "le": lambda value: value <= 0,
    "lt": lambda value: value < 0,
}

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.LShift: lambda a, b: a << b,
    ast.RShift: lambda a, b: a >> b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
}
_COMPARES: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def sizes_of_conditions(text: str) -> list[int]:
    """Return NR_CPUS on both sides of changes of the conditions that depend on it, ascending."""
    names = {
        name: tree
        for *some, value in _DEFINITION.findall(text)
        if (name := next(filter(None, some))) != "NR_CPUS" and (tree := _tree(value)) is not None
    }
    found: set[int] = set()
    for compared, value in _CONDITION.findall(text):
        tree = _tree(value)
        if tree is None or not _names(tree) & {"NR_CPUS", *names}:
            continue
        try:
            values = [_value(tree, nr_cpus, names, 0) for nr_cpus in range(1, NR_CPUS_MAX + 1)]
        except _Unknown:
            continue
        holds = [*map(_DECIDES[compared], values)]
        changes = [at for at in range(1, NR_CPUS_MAX) if holds[at] != holds[at - 1]]
        for change in {*changes[:_CHANGES_MAX], *changes[-_CHANGES_MAX:]}:
            found |= {change, change + 1}
    return sorted(found)


class _Unknown(Exception):
    # A name or an operator that is not known here, or a number out of all bounds.
    pass


def _tree(text: str) -> ast.expr | None:
    text = _REMARK.sub("", text)
    for spelt, said in _SPELT:
        text = text.replace(spelt, said)
    text = _NOT.sub(" not ", text).strip()
    if len(text) > _TEXT_MAX:
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(tree: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}


def _value(tree: ast.expr, nr_cpus: int, names: Mapping[str, ast.expr], depth: int) -> int:
    def of(each: ast.expr) -> int:
        return _value(each, nr_cpus, names, depth + 1)

    if depth > 50:
        raise _Unknown
    match tree:
        case ast.Constant(value=int(number)):
            found = int(number)
        case ast.Name(id="NR_CPUS"):
            found = nr_cpus
        case ast.Name(id=name) if name in names:
            found = of(names[name])
        case ast.BoolOp(op=ast.And(), values=values):
            found = int(all(map(of, values)))
        case ast.BoolOp(values=values):
            found = int(any(map(of, values)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = int(not of(operand))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = -of(operand)
        case ast.Compare(left=left, ops=[compare], comparators=[right]) if type(compare) in _COMPARES:
            found = int(_COMPARES[type(compare)](of(left), of(right)))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            a, b = of(left), of(right)
            shifts = isinstance(operation, ast.LShift | ast.RShift)
            if (isinstance(operation, ast.FloorDiv | ast.Mod) and b == 0) or (shifts and not 0 <= b < 64):
                raise _Unknown
            found = _BINARY[type(operation)](a, b)
        case _:
            raise _Unknown
    if abs(found) >= _NUMBER_MAX:
        raise _Unknown
    return found
