"""Flatten GNU-as text: resolve all that Keystone lacks, one statement a line, each with its origin.

Keystone ignores ``.include``, lacks numeric labels, refuses constants in places where the syntax allows an
expression, and names no line when it fails. So comments, includes, macros, conditionals, repetitions,
constants and numeric labels are resolved here; labels, instructions and data directives remain.

This is one file because every directive works on the same state: constants, macros and a list of statements.

:source: GNU as manual, sections Expressions, Symbol Names, Pseudo Ops
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emu.arch import sysreg
from emu.errors import AssemblyError

MACRO_DEPTH_MAX = 64
STATEMENTS_MAX = 250_000

_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*|\d+):")
_NAME = re.compile(r"(?<![\w.$\\])[A-Za-z_.$][\w.$]*")
_NUMBER = re.compile(r"(?<![\w.$])\d+(?![\w.])")
_NUMERIC = re.compile(r"(?<![\w.#$])(\d+)([bf])(?!\w)")
_INCLUDE = re.compile(r'(?:#\s*include|\.include)\s+["<]([^">]+)[">]$')
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
class Statement:
    """One statement and its origin; ``caller`` is where the outermost macro was called."""

    text: str
    file: str
    number: int
    caller: str = ""

    def error(self, reason: str) -> AssemblyError:
        """Return the error ``FILE:LINE: statement: reason``."""
        called = f" (macro called at {self.caller})" if self.caller else ""
        return AssemblyError(f"{self.file}:{self.number}: {self.text.strip()}: {reason}{called}")

    def with_text(self, text: str) -> Statement:
        """Return another statement from the same place."""
        return self if text == self.text else replace(self, text=text)

    @property
    def is_instruction(self) -> bool:
        """Whether it is neither a label nor a directive."""
        return not self.text.startswith(".") and not self.text.endswith(":")


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


def read(path: Path, shown: str, include_dirs: Sequence[Path], seen: set[Path]) -> list[Statement]:
    """Return the statements of a file with its includes resolved and its comments removed.

    A file is included once per ``seen``: fragments assembled together may all include the same macros.

    :param shown: how errors name the file
    :raises AssemblyError: unreadable, not UTF-8, or an include that is not found
    """
    try:
        raw = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise AssemblyError(f"{shown}:1: {reason}; expected AArch64 assembly text") from error
    lines: list[Statement] = []
    for number, text in _statements(raw):
        line = Statement(text, shown, number)
        include = _INCLUDE.match(text)
        if include is None:
            if text.startswith("#"):
                raise line.error(
                    "of the C preprocessor only #include is understood; use .equ, .macro and .if"
                )
            lines.append(line)
            continue
        for folder in (path.parent, *include_dirs):
            target = (folder / include[1]).resolve()
            if target.is_file():
                break
        else:
            raise line.error("no such file here, in asm/include or in asm")
        if target not in seen:
            seen.add(target)
            lines += read(target, _relative(target, include_dirs, shown), include_dirs, seen)
    return lines


def _relative(target: Path, include_dirs: Sequence[Path], includer: str) -> str:
    # A short name for an included file: below asm/, or beside the file that asked for it.
    for folder in include_dirs:
        if target.is_relative_to(folder.resolve()):
            root = folder.resolve() if (folder / "include").is_dir() else folder.resolve().parent
            return f"asm/{target.relative_to(root)}"
    return str(Path(includer).parent / target.name)


def _statements(raw: str) -> Iterator[tuple[int, str]]:
    # Comment-free statements with line numbers. Strings are opaque; a backslash joins two lines.
    out: list[str] = []
    position, number, started, quoted = 0, 1, 1, False
    while position <= len(raw):
        char = raw[position] if position < len(raw) else "\n"
        two = raw[position : position + 2]
        if char == "\n" or (char == ";" and not quoted):
            text = "".join(out).strip()
            if text:
                yield started, text
            out, quoted = [], False
            number += char == "\n"
            started = number
        elif two == "\\\n" and not quoted:
            number, position = number + 1, position + 1
        elif quoted and char == "\\":
            out.append(two)
            position += 1
        elif char == '"':
            quoted = not quoted
            out.append(char)
        elif not quoted and two == "//":
            position = _find(raw, "\n", position) - 1
        elif not quoted and two == "/*":
            end = _find(raw, "*/", position + 2)
            number += raw.count("\n", position, end)
            out.append(" ")
            position = end + 1
        elif (
            char == "#"
            and not "".join(out).strip()
            and not _INCLUDE.match(raw[position:].split("\n")[0].strip())
        ):
            word = re.match(r"#\s*(define|undef|if|ifdef|ifndef|elif|else|endif)\b", raw[position:])
            if word:
                out.append(char)
            else:
                position = _find(raw, "\n", position) - 1
        else:
            if not "".join(out).strip():
                started = number
            out.append(char)
        position += 1


def _find(raw: str, what: str, start: int) -> int:
    # str.find() that returns the length of the text instead of -1.
    at = raw.find(what, start)
    return len(raw) if at < 0 else at


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
        except _NotConstant:
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
        text = "".join(
            part if part.startswith('"') else _NUMBER.sub(_in_hex, _NUMERIC.sub(name, part)) for part in parts
        )
        yield line.with_text(text)


def _in_hex(match: re.Match[str]) -> str:
    # Keystone 0.9.2 may read a number without a prefix as hexadecimal, so every number gets one.
    value = _literal(match[0])
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


class _NotConstant(ValueError):
    # The expression names a label, the location counter or an undefined symbol.
    pass


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
            return _literal(token)
        if token in constants:
            return constants[token]
        raise _NotConstant(f"{token} is not a constant")

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


def _literal(token: str) -> int:
    # A number as GNU as writes it; a leading 0 means octal.
    try:
        return int(token, 8) if re.fullmatch(r"0\d+", token) else int(token, 0)
    except ValueError:
        raise ValueError(f"{token} is not a number") from None


def _signed(value: int) -> int:
    # The value as a signed 64-bit number.
    return (value + 2**63) % 2**64 - 2**63
