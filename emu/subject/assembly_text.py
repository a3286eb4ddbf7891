"""Flatten GNU-as text: resolve all that Keystone lacks, one statement a line, each with its origin.

Keystone ignores ``.include``, lacks numeric labels, refuses constants in places where the syntax allows an
expression, and names no line when it fails. So comments, includes, macros, conditionals, repetitions,
constants and numeric labels are resolved here; labels, instructions and data directives remain.

:mod:`emu.subject.assembly_source` reads the statements,
:mod:`emu.subject.assembly_expression` evaluates constant expressions.

:source: GNU as manual, sections Expressions, Symbol Names, Pseudo Ops
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emu.arch import sysreg
from emu.subject.assembly_expression import NotConstant, evaluate, literal
from emu.subject.assembly_source import Statement

MACRO_DEPTH_MAX = 64
STATEMENTS_MAX = 250_000

_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*|\d+):")
_NAME = re.compile(r"(?<![\w.$\\])[A-Za-z_.$][\w.$]*")
_NUMBER = re.compile(r"(?<![\w.$])\d+(?![\w.])")
_NUMERIC = re.compile(r"(?<![\w.#$])(\d+)([bf])(?!\w)")
_STRING = re.compile(r'("(?:\\.|[^"\\])*")')
_TEXT_SECTION = re.compile(r'\.(?:push)?section\s+"?\.(?:[\w.]+\.)?text\b')
# The last operand of these is an address, never a number: an absolute symbol in it is kept as a symbol.
_PC_RELATIVE = re.compile(r"(?:adrp?|bl?|b\.?[a-z]{2}|cbn?z|tbn?z|ldr|ldrsw|prfm)$")
_ADDRESS = re.compile(r"[A-Za-z_.$][\w.$]*(\s*[+-].*)?")
# No effect on the bytes of one flat section, or on which symbols exist.
_IGNORED = re.compile(
    r"\.(?:text|globa?l|local|weak|hidden|protected|internal|type|size|arch|arch_extension|cpu|file|ident|loc|"
    r"popsection|previous|altmacro|noaltmacro|warning|print|ltorg|pool|cfi_\w+)$"
)
_HINTS = {"xpaclri": 7, "esb": 16, "csdb": 20, "paciasp": 25, "pacibsp": 27, "autiasp": 29, "autibsp": 31}
_HINTS |= {"bti": 32, "bti c": 34, "bti j": 36, "bti jc": 38}
_DIRECTIVES = {".dword": ".quad"}
_REGISTERS = {name.lower(): encoding for encoding, name in sysreg.NAMES.items()}
_BLOCKS = {".macro": ".endm", ".rept": ".endr", ".irp": ".endr", ".irpc": ".endr"}


@dataclass(frozen=True, slots=True)
class Flat:
    """Flat text: statements, the labels in order of definition, and every constant that was set."""

    lines: tuple[Statement, ...]
    labels: tuple[str, ...]
    constants: Mapping[str, int]

    @property
    def text(self) -> str:
        """The statements, one a line: the input of Keystone, and of GNU as in the tests."""
        return "\n".join(line.text for line in self.lines) + "\n"


@dataclass(slots=True)
class _Macro:
    parameters: list[tuple[str, str | None]]  # name, default (None: empty)
    variadic: bool
    body: list[Statement]


@dataclass(slots=True)
class _Expander:
    constants: dict[str, int]
    macros: dict[str, _Macro] = field(default_factory=dict)
    out: list[Statement] = field(default_factory=list)
    labels: dict[str, Statement] = field(default_factory=dict)
    invocations: int = 0  # the value of \@

    def run(self, lines: Sequence[Statement], depth: int = 0) -> None:
        # Expand a list of statements; conditionals must balance within it.
        if depth > MACRO_DEPTH_MAX:
            raise lines[0].error(f"macros nest deeper than {MACRO_DEPTH_MAX}")
        # branch taken now, any branch taken before, opening line
        conditions: list[tuple[bool, bool, Statement]] = []
        index = 0
        while index < len(lines):
            line = lines[index]
            word, rest = _split_word(line.text)
            index += 1
            if word.startswith(".if"):
                active = all(taken for taken, _, _ in conditions)
                taken = active and self._condition(word, rest, line)
                conditions.append((taken, taken or not active, line))
            elif word in (".else", ".elseif"):
                if not conditions:
                    raise line.error("no .if before it")
                _, done, opened = conditions.pop()
                taken = not done and (word == ".else" or self._condition(".if", rest, line))
                conditions.append((taken, done or taken, opened))
            elif word == ".endif":
                if not conditions:
                    raise line.error("no .if before it")
                conditions.pop()
            elif word in _BLOCKS:
                end = _block_end(lines, index)
                if all(taken for taken, _, _ in conditions):
                    self._block(word, rest, line, lines[index:end], depth)
                index = end + 1
            elif all(taken for taken, _, _ in conditions):
                self._statement(line, depth)
            if len(self.out) > STATEMENTS_MAX:
                raise line.error(f"more than {STATEMENTS_MAX} statements")
        if conditions:
            raise conditions[-1][2].error("no .endif for it")

    def _statement(self, line: Statement, depth: int) -> None:
        label = _LABEL.match(line.text)
        if label:
            self.out.append(line.with_text(label[0]))
            if not label[1].isdigit():
                self._define_label(label[1], line)
            rest = line.text[label.end() :].strip()
            if rest:
                self.run([line.with_text(rest)], depth)
            return
        word, rest = _split_word(line.text)
        if word in self.macros:
            self.run(self._call(self.macros[word], word, rest, line), depth + 1)
        elif word in (".equ", ".set", ".equiv") or rest.startswith("=") and not rest.startswith("=="):
            name, value = (word, rest[1:]) if rest.startswith("=") else _pair(rest, line)
            self._assign(name.strip(), value.strip(), line)
        elif word == ".purgem":
            self.macros.pop(rest, None)
        elif word in (".error", ".err"):
            raise line.error("the text asks for this error")
        elif word in (".section", ".pushsection") and _TEXT_SECTION.match(line.text):
            return
        elif word in (".section", ".pushsection", ".data", ".bss", ".subsection", ".org"):
            raise line.error("a fragment is one flat section; put data behind the code, without a section")
        elif word in (".inst", ".incbin", ".include"):
            raise line.error("not supported here; write .word, or use a file that GNU as has assembled")
        elif not _IGNORED.match(word):
            self.out.append(line.with_text(_known_to_keystone(self._constants_in(line))))

    def _define_label(self, name: str, line: Statement) -> None:
        if name in self.labels:
            first = self.labels[name]
            raise line.error(f"label {name} is also at {first.file}:{first.number}")
        if name in self.constants:
            raise line.error(f"{name} is also a constant")
        self.labels[name] = line

    def _assign(self, name: str, value: str, line: Statement) -> None:
        if name == ".":
            raise line.error("the location counter cannot be set; use .balign or .zero")
        try:
            self.constants[name] = evaluate(value, self.constants)
        except NotConstant:
            self.constants.pop(name, None)
            self.out.append(line.with_text(f".set {name}, {self._substitute(value)}"))
        except ValueError as error:
            raise line.error(str(error)) from None

    def _condition(self, word: str, rest: str, line: Statement) -> bool:
        if word in (".ifdef", ".ifndef"):
            return (rest in self.constants or rest in self.labels) == (word == ".ifdef")
        if word in (".ifb", ".ifnb"):
            return (not rest) == (word == ".ifb")
        if word in (".ifc", ".ifnc"):
            left, right = _pair(rest, line)
            return (left.strip() == right.strip()) == (word == ".ifc")
        tests: dict[str, Callable[[int], bool]] = {
            ".if": lambda n: n != 0,
            ".ifne": lambda n: n != 0,
            ".ifeq": lambda n: n == 0,
            ".ifgt": lambda n: n > 0,
            ".ifge": lambda n: n >= 0,
            ".iflt": lambda n: n < 0,
            ".ifle": lambda n: n <= 0,
        }
        if word not in tests:
            raise line.error(f"{word} is not supported")
        return tests[word](self._number(rest, line))

    def _number(self, text: str, line: Statement) -> int:
        try:
            return evaluate(text, self.constants)
        except ValueError as error:
            raise line.error(str(error)) from None

    def _block(self, word: str, rest: str, line: Statement, body: Sequence[Statement], depth: int) -> None:
        if word == ".macro":
            name, parameters = _split_word(rest.replace(",", " ", 1) if "," in rest.split(" ")[0] else rest)
            self.macros[name] = _macro(parameters, list(body))
            return
        if word == ".rept":
            for _ in range(self._number(rest, line)):
                self.run(body, depth + 1)
            return
        name, values = _split_word(rest)
        listed = _operands(values.lstrip(", ")) if word == ".irp" else list(values.lstrip(", "))
        for value in listed:
            self.run(
                [_fill(item, {name.rstrip(","): value}, self.invocations, line.caller) for item in body],
                depth + 1,
            )

    def _call(self, macro: _Macro, name: str, rest: str, line: Statement) -> list[Statement]:
        names = [parameter for parameter, _ in macro.parameters]
        given: dict[str, str] = {}
        values = _operands(rest)
        if len(values) == 1 and len(names) > 1 and not macro.variadic:
            values = rest.split()
        if macro.variadic and len(values) >= len(names) > 0:
            values = [*values[: len(names) - 1], ", ".join(values[len(names) - 1 :])]
        if len(values) > len(names):
            raise line.error(f"macro {name} takes {len(names)} arguments")
        for position, value in enumerate(values):
            keyword = re.match(r"(\w+)\s*=(?!=)\s*(.*)", value)
            if keyword and keyword[1] in names:
                given[keyword[1]] = keyword[2]
            elif value:
                given[names[position]] = value
        arguments = {
            parameter: given.get(parameter, default or "") for parameter, default in macro.parameters
        }
        self.invocations += 1
        caller = line.caller or f"{line.file}:{line.number}"
        return [_fill(item, arguments, self.invocations, caller) for item in macro.body]

    def _constants_in(self, line: Statement) -> str:
        # The statement with constants replaced by numbers, except a symbol that is an address operand.
        word, rest = _split_word(line.text)
        if not rest:
            return word
        operands = _operands(rest)
        if "" in operands:
            raise line.error("an operand is missing")
        if word.startswith("."):
            return f"{word} {', '.join(self._folded(operand) for operand in operands)}"
        address = _PC_RELATIVE.match(word.lower()) and _ADDRESS.fullmatch(operands[-1])
        last = operands[-1] if address else self._immediates(operands[-1])
        return f"{word} {', '.join([*map(self._immediates, operands[:-1]), last])}"

    def _immediates(self, operand: str) -> str:
        # An operand with "#expression" as "#number", inside brackets too.
        before, hash_, expression = operand.partition("#")
        if not hash_:
            return self._substitute(operand)
        end = re.search(r"\s*\]!?$|$", expression)
        assert end is not None
        return f"{self._substitute(before)}#{self._folded(expression[: end.start()])}{end[0]}"

    def _folded(self, expression: str) -> str:
        # The value of a constant expression, else the expression with its constants as numbers.
        try:
            value = evaluate(expression, self.constants)
        except ValueError:
            return self._substitute(expression)
        return str(value) if -9 <= value <= 9 else f"{value:#x}"

    def _substitute(self, text: str) -> str:
        def number(match: re.Match[str]) -> str:
            value = self.constants.get(match[0])
            if value is None:
                return match[0]
            return f"{value:#x}" if value >= 0 else f"({value:#x})"

        parts = _STRING.split(text)
        return "".join(part if part.startswith('"') else _NAME.sub(number, part) for part in parts)


def flatten(lines: Sequence[Statement], constants: Mapping[str, int]) -> Flat:
    """Expand macros, conditionals, repetitions, constants and numeric labels.

    :param constants: signed 64-bit values defined before the text, as if by ``.equ``
    :raises AssemblyError: a directive that is malformed, unbalanced or not supported; a label defined twice
    """
    expander = _Expander(dict(constants))
    expander.run(lines)
    return Flat(tuple(_numeric_labels(expander.out)), tuple(expander.labels), expander.constants)


def _numeric_labels(lines: Sequence[Statement]) -> Iterator[Statement]:
    # Replace 1:, 1b and 1f by .L labels, which Keystone knows.
    count: dict[str, int] = {}
    for line in lines:
        if re.fullmatch(r"\d+:", line.text):
            digits = line.text[:-1]
            count[digits] = count.get(digits, 0) + 1
            yield line.with_text(f".Lnumeric_{digits}_{count[digits]}:")
            continue

        def name(match: re.Match[str], line: Statement = line) -> str:
            number = count.get(match[1], 0) + (match[2] == "f")
            if number == 0:
                raise line.error(f"no label {match[1]}: before it")
            return f".Lnumeric_{match[1]}_{number}"

        parts = _STRING.split(line.text)
        try:
            text = "".join(
                part if part.startswith('"') else _NUMBER.sub(_in_hex, _NUMERIC.sub(name, part))
                for part in parts
            )
        except ValueError as error:  # 089, or more digits than Python reads
            raise line.error(str(error)) from None
        yield line.with_text(text)


def _in_hex(match: re.Match[str]) -> str:
    # Keystone 0.9.2 may read a number without a prefix as hexadecimal, so every number gets one.
    value = literal(match[0])
    return match[0] if value < 10 else f"{value:#x}"


def _known_to_keystone(text: str) -> str:
    # The same statement in a spelling that Keystone 0.9.2 has.
    word, rest = _split_word(text)
    word = word.lower()
    plain = " ".join([word, *rest.lower().split()])
    if plain in _HINTS:
        return f"hint #{_HINTS[plain]}"
    if word in _DIRECTIVES:
        return f"{_DIRECTIVES[word]} {rest}"
    operands = _operands(rest)
    if word in ("mrs", "msr") and len(operands) == 2:
        at = 1 if word == "mrs" else 0
        encoding = _REGISTERS.get(operands[at].lower())
        if encoding:
            operands[at] = "s{}_{}_c{}_c{}_{}".format(*encoding)
            return f"{word} {', '.join(operands)}"
    return text


def _split_word(text: str) -> tuple[str, str]:
    # First word and the rest.
    word, _, rest = text.strip().replace("\t", " ", 1).partition(" ")
    if "=" in word and not word.startswith(("=", ".")):
        word, _, value = text.partition("=")
        return word.strip(), "=" + value.strip()
    return word, rest.strip()


def _pair(rest: str, line: Statement) -> tuple[str, str]:
    left, comma, right = rest.partition(",")
    if not comma:
        raise line.error("expected two operands")
    return left, right


def _operands(text: str) -> list[str]:
    # Split at commas outside brackets and strings.
    parts, depth, quoted, start = [], 0, False, 0
    for position, char in enumerate(text):
        if char == '"' and text[position - 1 : position] != "\\":
            quoted = not quoted
        elif not quoted and char in "([{":
            depth += 1
        elif not quoted and char in ")]}":
            depth -= 1
        elif not quoted and depth == 0 and char == ",":
            parts.append(text[start:position].strip())
            start = position + 1
    last = text[start:].strip()
    return [*parts, last] if last or parts else []


def _block_end(lines: Sequence[Statement], start: int) -> int:
    # Index of the .endm or .endr that closes the block whose body begins at start.
    closers = [_BLOCKS[_split_word(lines[start - 1].text)[0]]]
    for index in range(start, len(lines)):
        word = _split_word(lines[index].text)[0]
        if word in _BLOCKS:
            closers.append(_BLOCKS[word])
        elif word == closers[-1]:
            closers.pop()
            if not closers:
                return index
    raise lines[start - 1].error(f"no {closers[-1]} for it")


def _macro(parameters: str, body: list[Statement]) -> _Macro:
    # "a, b=1, c:req, d:vararg" in any of the spellings GNU as takes.
    parsed: list[tuple[str, str | None]] = []
    variadic = False
    for item in re.findall(r"[^\s,=]+(?:\s*=\s*[^\s,]+)?", parameters):
        name, equals, default = item.partition("=")
        name, _, qualifier = name.strip().partition(":")
        variadic = variadic or qualifier == "vararg"
        parsed.append((name, default.strip() if equals else None))
    return _Macro(parsed, variadic, body)


def _fill(line: Statement, arguments: Mapping[str, str], invocation: int, caller: str) -> Statement:
    # A macro body line with \name, \@ and \() replaced.
    def value(match: re.Match[str]) -> str:
        if match[0] == "\\@":
            return str(invocation)
        if match[0] == "\\()":
            return ""
        return arguments.get(match[1], match[0])

    text = re.sub(r"\\@|\\\(\)|\\([A-Za-z_]\w*)", value, line.text).strip()
    return replace(line, text=text, caller=caller)
