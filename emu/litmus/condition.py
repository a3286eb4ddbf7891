"""The condition of a litmus test: propositions over final values, and their text as herd prints it.

The grammar, of which ``not`` binds closest and ``=>`` least::

    condition: (exists | ~exists | forall) proposition
    proposition: true | false | location = value | not P | P /\\ P | P \\/ P | P => P | (P)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emu.litmus.test import Value


class Register(NamedTuple):
    """X``number`` of a thread, or its low half; 31: SP."""

    thread: int
    number: int
    is_half: bool = False

    def __str__(self) -> str:
        return f"{self.thread}:{'W' if self.is_half else 'X'}{self.number}"


class Variable(NamedTuple):
    """A variable in memory; ``element``: the number of one of an array, or None."""

    name: str
    element: int | None = None

    def __str__(self) -> str:
        return f"[{self.name}]" if self.element is None else f"{self.name}[{self.element}]"


Location = Register | Variable
Holds = Callable[[Location, "Value"], bool]


@dataclass(frozen=True, slots=True)
class Constant:
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Equals:
    """A location has a value; ``text`` is the value as it is written."""

    location: Location
    value: Value
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: Proposition


@dataclass(frozen=True, slots=True)
class Both:
    """``word`` is ``/\\``, ``\\/`` or ``=>``."""

    word: str
    left: Proposition
    right: Proposition


Proposition = Constant | Equals | Not | Both
# How closely a word binds, loosest first.
WORDS = ("=>", "\\/", "/\\")
KINDS = {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of all final states. ``quantifier`` is one of ``KINDS``."""

    quantifier: str
    proposition: Proposition

    @property
    def kind(self) -> str:
        """What herd calls the test for it."""
        return KINDS[self.quantifier]

    def validated(self, positive: int, negative: int) -> bool:
        """Tell whether it is true of so many states in which the proposition holds, and does not."""
        if self.quantifier == "forall":
            return negative == 0
        return (positive > 0) == (self.quantifier == "exists")

    def __str__(self) -> str:
        return f"{self.quantifier} ({text_of(self.proposition)})"


def holds(proposition: Proposition, equals: Holds) -> bool:
    """Tell whether a proposition is true where ``equals`` says what the locations hold."""
    match proposition:
        case Constant(value):
            return value
        case Equals(location, value):
            return equals(location, value)
        case Not(operand):
            return not holds(operand, equals)
        case Both("/\\", left, right):
            return holds(left, equals) and holds(right, equals)
        case Both("\\/", left, right):
            return holds(left, equals) or holds(right, equals)
        case Both(_, left, right):
            return not holds(left, equals) or holds(right, equals)


def equalities(proposition: Proposition) -> Iterator[Equals]:
    """Yield what a proposition asks for, from left to right."""
    match proposition:
        case Equals():
            yield proposition
        case Not(operand):
            yield from equalities(operand)
        case Both(_, left, right):
            yield from equalities(left)
            yield from equalities(right)


def text_of(proposition: Proposition, above: int = 0) -> str:
    """Return a proposition in herd's syntax; ``above``: how closely the word around it binds."""
    match proposition:
        case Constant(value):
            return "true" if value else "false"
        case Equals(location, _, text):
            return f"{location}={text}"
        case Not(operand):
            return f"not ({text_of(operand)})"
        case Both(word, left, right):
            binds = WORDS.index(word)
            text = f"{text_of(left, binds + (word == WORDS[0]))} {word} {text_of(right, binds)}"
            return f"({text})" if binds < above else text
