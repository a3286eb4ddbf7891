"""The part of a litmus test behind its code: what to print, and the condition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from emu.errors import InvalidSubject, Untestable
from emu.litmus.condition import (
    KINDS,
    WORDS,
    Both,
    Condition,
    Constant,
    Equals,
    Location,
    Not,
    Proposition,
    Register,
    Variable,
    equalities,
)
from emu.litmus.test import Address, CodeAddress, Instruction, Value

_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"[^\"]*\")|(?P<number>-?(?:0[xX][0-9a-fA-F]+|0b[01]+|\d+))"
    r"|(?P<name>[A-Za-z_.$][\w.$]*)|(?P<sign>/\\|\\/|=>|~exists\b|[][()=:;~*&+,|!<>{}@#-]))"
)
_DIGITS_MAX = 100  # a 64-bit number has as many at most, in binary
_NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)")
REGISTER = re.compile(r"([XW])(\d{1,2}|ZR)$", re.IGNORECASE)


class Tokens:
    """The tokens of a text, read from left to right.

    :param where: what errors begin with: FILE
    :param line: of the text's first character in the file
    """

    def __init__(self, text: str, where: str, line: int) -> None:
        self._where, self._line, self._text = where, line, text
        self._tokens: list[tuple[str, int]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                place = at + len(text[at:]) - len(text[at:].lstrip())
                raise self._error(f"{text[place : place + 20]!r}: not understood", place)
            kind = match.lastgroup
            assert kind is not None
            self._tokens.append((match[kind], match.start(kind)))
            at = match.end()
        self._at = 0

    def _error(self, reason: str, at: int) -> InvalidSubject:
        return InvalidSubject(f"{self._where}:{self._line + self._text.count(chr(10), 0, at)}: {reason}")

    def fail(self, expected: str) -> NoReturn:
        """Say what should stand here.

        :raises InvalidSubject: always
        """
        at = self._tokens[self._at][1] if self._tokens[self._at :] else len(self._text)
        found = f"{self.next!r} is there" if self.next else "the text ends"
        raise self._error(f"{expected} is expected, and {found}", at)

    def unmodelled(self, what: str) -> NoReturn:
        """Say that something is herd's, and not modelled here.

        :raises Untestable: always
        """
        at = self._tokens[self._at][1] if self._tokens[self._at :] else len(self._text)
        raise Untestable(str(self._error(f"{what} is not modelled", at)))

    @property
    def next(self) -> str:
        """The next token; nothing at the end."""
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        """Return the next token and go on behind it."""
        token = self.next
        self._at += 1
        return token

    def skip(self, *tokens: str) -> bool:
        """Go on behind the next token if it is one of these."""
        found = self.next in tokens and bool(self.next)
        self._at += found
        return found

    def want(self, token: str) -> None:
        """Go on behind ``token``.

        :raises InvalidSubject: another one is next
        """
        if not self.skip(token):
            self.fail(repr(token))

    def number(self) -> int | None:
        """Return the next token as a number and go on; None: it is none."""
        match = _NUMBER.fullmatch(self.next)
        if match is None:
            return None
        if len(match[2]) > _DIGITS_MAX:
            self.fail(f"a number of at most {_DIGITS_MAX} digits")
        self._at += 1
        value = int(match[2], 0 if match[2][:2].lower() in ("0x", "0b") else 10)  # 010 is ten
        return -value if match[1] else value

    def name(self, what: str) -> str:
        """Return the next token, a name."""
        if not re.match(r"[A-Za-z_.$]", self.next):
            self.fail(what)
        return self.take()


def parse_location(tokens: Tokens) -> Location:
    """Return the location that comes next: ``N:REGISTER``, ``x``, ``[x]``, ``*x`` or ``x[N]``."""
    thread = tokens.number()
    if thread is not None:
        tokens.want(":")
        register = REGISTER.match(tokens.next)
        if register is None or not register[2].isdigit() or int(register[2]) > 30:
            if re.match(r"[A-Za-z]", tokens.next):
                tokens.unmodelled(f"register {tokens.next}")
            tokens.fail("a register, X0 to X30 or W0 to W30,")
        tokens.take()
        return Register(thread, int(register[2]), register[1] in "wW")
    bracket = tokens.skip("[")
    if not bracket:
        tokens.skip("*")
    name = tokens.name("a location")
    if tokens.next == "(":
        tokens.unmodelled(f"{name}()")
    element = _element(tokens)
    if bracket:
        tokens.want("]")
    return Variable(name, element)


def _element(tokens: Tokens) -> int | None:
    if not tokens.skip("["):
        return None
    number = tokens.number()
    if number is None or number < 0:
        tokens.fail("the number of an element")
    tokens.want("]")
    return number


def parse_value(tokens: Tokens) -> Value:
    """Return the value that comes next: a number, ``x``, ``x[N]``, ``PN:LABEL`` or ``instr:"..."``."""
    value = tokens.number()
    if value is not None:
        if tokens.next == ":":
            tokens.unmodelled("a value with a colon")
        return value
    tokens.skip("&")
    name = tokens.name("a value")
    if name == "instr" and tokens.skip(":"):
        if not tokens.next.startswith('"'):
            tokens.fail("an instruction in quotes")
        return Instruction(tokens.take()[1:-1])
    thread = re.fullmatch(r"P(\d+)", name)
    if thread and tokens.skip(":"):
        return CodeAddress(int(thread[1]), tokens.name("a label"))
    if tokens.next in ("(", ":"):
        tokens.unmodelled(f"the value {name}{tokens.next}...")
    return Address(name, _element(tokens) or 0)


def value_text(value: Value) -> str:
    """Return a value as herd writes it."""
    match value:
        case Address(name, element):
            return f"{name}[{element}]" if element else name
        case CodeAddress(thread, label):
            return f'label:"P{thread}:{label}"'
        case Instruction(text):
            return f'instr:"{text}"'
    return str(value)


def parse_tail(tokens: Tokens) -> tuple[Condition, tuple[Location, ...]]:
    """Return the condition, and the locations to print besides those that it asks for."""
    shown: list[Location] = []
    if tokens.skip("locations"):
        tokens.want("[")
        while not tokens.skip("]"):
            if tokens.next == "fault":
                tokens.unmodelled("fault()")
            shown.append(parse_location(tokens))
            if tokens.next != "]" and not tokens.skip(";"):
                tokens.fail("';' or ']'")
    if tokens.next in ("filter", "final", "with"):
        tokens.unmodelled(tokens.next)
    if not tokens.next:  # herd's condition of a test that has none
        return Condition("forall", Constant(True)), tuple(shown)
    word = tokens.take()
    if word in ("~", "not") and tokens.skip("exists"):
        word = "~exists"
    if word not in KINDS:
        tokens.fail(f"one of {', '.join(KINDS)}, and not {word!r},")
    condition = Condition(word, _proposition(tokens))
    if tokens.next == "with":
        tokens.unmodelled("with")
    while tokens.skip(";"):
        pass
    if tokens.next:
        tokens.fail("the end")
    return condition, tuple(shown)


def _proposition(tokens: Tokens, level: int = 0) -> Proposition:
    if level == len(WORDS):
        return _operand(tokens)
    left = _proposition(tokens, level + 1)
    while tokens.skip(WORDS[level]):
        # => associates to the right
        right = _proposition(tokens, level if level == 0 else level + 1)
        left = Both(WORDS[level], left, right)
    return left


def code_locations(proposition: Proposition) -> Iterator[Register]:
    """Yield the registers that a proposition compares with an instruction."""
    for asked in equalities(proposition):
        if isinstance(asked.location, Register) and isinstance(asked.value, Instruction):
            yield asked.location._replace(is_half=False)


def _operand(tokens: Tokens) -> Proposition:
    if tokens.skip("not", "~"):
        return Not(_operand(tokens))
    if tokens.skip("("):
        inner = _proposition(tokens)
        tokens.want(")")
        return inner
    if tokens.next in ("true", "false"):
        return Constant(tokens.take() == "true")
    if tokens.next in ("fault", "Fault"):
        tokens.unmodelled("fault()")
    location = parse_location(tokens)
    if tokens.next in ("!", "<", ">"):
        tokens.unmodelled(f"the comparison {tokens.next}")
    tokens.want("=")
    value = parse_value(tokens)
    return Equals(location, value, value_text(value))
