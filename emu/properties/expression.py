"""What a property is made of. Values are unsigned, 64 bits; a comparison is 1 or 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["finally", "at", "never", "unreachable", "eventually"]
KINDS: tuple[Kind, ...] = ("finally", "at", "never", "unreachable", "eventually")


class Cpus(NamedTuple):
    """CPUs as a property names them.

    :ivar who: ``cpu`` (by logical number), ``hwid``, ``boot``, ``secondary``, ``any`` (no matter which), or
        ``here``: the CPU that has come to the label of an ``at``
    :ivar every: of several, whether it must hold for each or for one of them; None: it is one CPU
    """

    who: str
    number: int = 0
    every: bool | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, u64."""

    value: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """The address of a symbol (VA)."""

    name: str


@dataclass(frozen=True, slots=True)
class Memory:
    """``size`` bytes at an address: what a CPU with its caches on loads there now."""

    address: Expression
    size: int


@dataclass(frozen=True, slots=True)
class Register:
    """X0..X30 or SP (31) of a CPU; ``is_half``: the low 32 bits."""

    cpus: Cpus
    number: int
    is_half: bool = False


@dataclass(frozen=True, slots=True)
class At:
    """Whether a CPU is at a label: its next instruction is the one there."""

    cpus: Cpus
    label: Symbol
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Unary:
    """``!``, ``-`` or ``~``."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and what is between them."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Quantified:
    """``body`` for each of several CPUs, or for one of them; in it they are ``cpus`` without a quantifier."""

    cpus: Cpus
    body: Expression


Expression = Number | Symbol | Memory | Register | At | Unary | Binary | Quantified
# Operators, loosest first; those of one row bind alike and associate to the left.
OPERATORS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!=", "<=", ">=", "<", ">"),
    ("|",),
    ("^",),
    ("&",),
    ("<<", ">>"),
    ("+", "-"),
    ("*",),
)


@dataclass(frozen=True, slots=True)
class Property:
    """A property.

    :ivar condition: what is to hold; None: of ``unreachable``
    :ivar place: of ``at`` and ``unreachable``: who comes where
    :ivar text: as the user has written it, without blanks that mean nothing
    """

    kind: Kind
    condition: Expression | None
    place: At | None
    text: str
