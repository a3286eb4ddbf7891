"""The text of a property, read: a recursive descent over the grammar of docs/exploring.md."""

from __future__ import annotations

import re
from typing import NoReturn

from emu.errors import InvalidCase
from emu.properties.expression import (
    KINDS,
    OPERATORS,
    At,
    Binary,
    Cpus,
    Expression,
    Memory,
    Number,
    Property,
    Quantified,
    Register,
    Symbol,
    Unary,
)
from emu.registry import not_one_of

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|\d+)(?![\w.])|(?P<name>[A-Za-z_.$][\w.$]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|<<|>>|[][()@:!~<>|^&+*?-]))"
)
_REGISTER = re.compile(r"(?:([xw])(\d{1,2})|sp)$", re.IGNORECASE)
_CPU = re.compile(r"cpu(\d{1,10})?$", re.IGNORECASE)
_SIZES = (1, 2, 4, 8)
_DEEP = 64
_DIGITS_MAX = 40  # more than of any u64
_HERE = Cpus("here")


def parse_property(text: str, where: str = "assert") -> Property:
    """Return the property that ``text`` says.

    :param where: what errors begin with: an option, ``FILE:LINE``
    :raises InvalidCase: it is none
    """
    return _Parser(text, where).property()


def parse_cpus(text: str, where: str) -> Cpus:
    """Return the CPUs that ``text`` names: ``cpu1``, ``1``, ``hwid(0x100)``, ``boot``, ``secondary*``.

    :raises InvalidCase: it names none
    """
    return _Parser(text, where).only_cpus()


def parse_outcomes(text: str, where: str = "outcomes") -> list[Property]:
    """Return the expressions between the commas of ``text``, each as a ``finally``.

    :raises InvalidCase: one of them is none
    """
    return [_Parser(part, where).outcome() for part in text.split(",")]


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = " ".join(text.split()), where
        self._tokens: list[tuple[str, str]] = []
        self._at = self._depth = 0
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self._refuse(f"{self.text[at : at + 20].strip()!r} is not understood")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            at = match.end()

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidCase(f"{self.where}: {self.text[:120]!r}: {reason}")

    def _expected(self, what: str) -> NoReturn:
        found = f"{self._next!r} is there" if self._next else "it ends"
        self._refuse(f"{what} is expected, and {found}")

    @property
    def _next(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _is(self, kind: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][0] == kind

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _skip(self, sign: str) -> bool:
        found = self._is("sign") and self._next == sign
        self._at += found
        return found

    def _want(self, sign: str) -> None:
        if not self._skip(sign):
            self._expected(repr(sign))

    # -- properties -------------------------------------------------------------------------------

    def property(self) -> Property:
        """The whole text."""
        kind = next((kind for kind in KINDS if kind == self._next), None)
        if kind is None:
            word = self._next or self.text
            self._refuse(f"{not_one_of(word, KINDS)}")
        self._at += 1
        condition = place = None
        if kind in ("at", "unreachable"):
            place = self._place()
        if kind == "at":
            self._want(":")
        if kind != "unreachable":
            condition = self._expression(here=kind == "at")
        if self._next:
            self._expected("the end")
        return Property(kind, condition, place, self.text)

    def only_cpus(self) -> Cpus:
        """The whole text as CPUs; of several without a sign it is each."""
        tokens = [token for _, token in self._tokens]
        if tokens in (["secondary"], ["cpu"]):
            return Cpus("secondary" if tokens == ["secondary"] else "any", every=True)
        if not self._cpus_end(tokens, ":"):
            self._refuse("CPUs are expected: cpu1, hwid(0x100), boot, secondary")
        return self._cpus()

    def outcome(self) -> Property:
        """The whole text as an expression."""
        condition = self._expression(here=False)
        if self._next:
            self._expected("the end")
        return Property("finally", condition, None, self.text)

    def _place(self) -> At:
        # LABEL, or WHO@LABEL: of several CPUs it is whichever comes there.
        cpus = None
        if self._may_be_cpus():
            cpus = self._cpus()
            self._want("@")
        elif self._skip("@"):
            pass
        return self._label(cpus or Cpus("any", every=False))

    def _label(self, cpus: Cpus) -> At:
        if not self._is("name"):
            self._expected("a label")
        label, offset = Symbol(self._take()), 0
        if self._skip("+"):
            offset = self._number("an offset in bytes")
        return At(cpus, label, offset)

    def _number(self, what: str) -> int:
        if not self._is("number"):
            self._expected(what)
        text = self._take()
        if len(text) > _DIGITS_MAX:
            self._refuse(f"a number of {len(text)} digits has more than 64 bits")
        value = int(text, 16 if text[:2] in ("0x", "0X") else 10)
        if value >> 64:
            self._refuse(f"{value:#x} has more than 64 bits")
        return value

    # -- CPUs -------------------------------------------------------------------------------------

    def _may_be_cpus(self) -> bool:
        # Whether a CPU comes next, before "@" or ":".
        behind = [token for _, token in self._tokens[self._at : self._at + 6]]
        for sign in ("@", ":"):
            if sign in behind and self._cpus_end(behind[: behind.index(sign)], sign):
                return True
        return False

    @staticmethod
    def _cpus_end(tokens: list[str], sign: str) -> bool:
        if not tokens:
            return False
        first, *rest = tokens
        one = not rest and (first.isdecimal() or bool(_CPU.match(first)) or first == "boot")
        several = first.lower() in ("cpu", "secondary") and (
            rest in (["*"], ["?"]) or (not rest and sign == "@")
        )
        return one or several or (first == "hwid" and rest[:1] == ["("] and rest[-1:] == [")"])

    def _cpus(self) -> Cpus:
        if self._is("number"):
            return Cpus("cpu", self._number("a CPU"))
        word = self._take()
        if word == "hwid":
            self._want("(")
            number = self._number("a hwid")
            self._want(")")
            return Cpus("hwid", number)
        if word == "boot":
            return Cpus("boot")
        match = _CPU.match(word)
        if match and match[1]:
            return Cpus("cpu", int(match[1]))
        who = "any" if match else "secondary"
        if self._skip("*"):
            return Cpus(who, every=True)
        if not self._skip("?"):
            self._expected("'*' for each of them or '?' for one")
        return Cpus(who, every=False)

    # -- expressions ------------------------------------------------------------------------------

    def _expression(self, level: int = 0, *, here: bool) -> Expression:
        self._depth += 1
        if self._depth > _DEEP * len(OPERATORS):
            self._refuse(f"more than {_DEEP} parentheses in one another")
        try:
            if level == len(OPERATORS):
                return self._unary(here)
            left = self._expression(level + 1, here=here)
            while self._is("sign") and self._next in OPERATORS[level]:
                operator = self._take()
                right = self._expression(level + 1, here=here)
                left = Binary(operator, left, right)
            # A CPU of several is bound where its comparison ends.
            return self._bound(left) if OPERATORS[level][0] == "==" else left
        finally:
            self._depth -= 1

    def _bound(self, body: Expression) -> Expression:
        free = dict.fromkeys(cpus for cpus in _cpus_of(body) if cpus.every is not None)
        if len(free) > 1:
            self._refuse("a comparison is about one group of CPUs at most; write two, with && or ||")
        for cpus in free:
            body = Quantified(cpus, body)
        return body

    def _unary(self, here: bool) -> Expression:
        for operator in "!-~":
            if self._skip(operator):
                return Unary(operator, self._unary(here))
        if self._skip("("):
            inner = self._expression(here=here)
            self._want(")")
            return inner
        if self._skip("["):
            return self._memory(here)
        if self._skip("@"):
            return self._bound(self._label(Cpus("any", every=False)))
        if self._may_be_cpus():
            return self._of_cpus()
        if self._is("number"):
            return Number(self._number("a number"))
        if not self._is("name"):
            self._expected("a value")
        word = self._take()
        if _REGISTER.match(word):
            if not here:
                self._refuse(f"{word}: of which CPU? write cpu1:{word}; alone it stands in an at")
            return self._register(word, _HERE)
        return Symbol(word)

    def _of_cpus(self) -> Expression:
        cpus = self._cpus()
        if self._skip("@"):
            return self._bound(self._label(cpus))
        self._want(":")
        if not self._is("name") or not _REGISTER.match(self._next):
            self._expected("a register, x0 to x30, w0 to w30 or sp,")
        return self._register(self._take(), cpus)

    def _register(self, word: str, cpus: Cpus) -> Register:
        match = _REGISTER.match(word)
        assert match is not None, word
        if match[2] is None:
            return Register(cpus, 31)
        if int(match[2]) > 30:
            self._refuse(f"{word}: there is X0 to X30")
        return Register(cpus, int(match[2]), match[1] in "wW")

    def _memory(self, here: bool) -> Memory:
        address = self._expression(here=here)
        self._want("]")
        size = 8
        if self._skip(":"):
            size = self._number("1, 2, 4 or 8 bytes")
            if size not in _SIZES:
                self._refuse(f"{size} bytes: 1, 2, 4 or 8")
        return Memory(address, size)


def _cpus_of(expression: Expression) -> list[Cpus]:
    # Those that nothing binds yet.
    match expression:
        case Register(cpus) | At(cpus):
            return [cpus]
        case Memory(operand) | Unary(_, operand):
            return _cpus_of(operand)
        case Binary(_, left, right):
            return _cpus_of(left) + _cpus_of(right)
    return []
