"""herd's AArch64 litmus format: a head, what holds at first, the threads in columns, and a condition."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from emu.errors import InvalidSubject, Untestable
from emu.litmus.condition import Location, Register, Variable, equalities
from emu.litmus.propositions import Tokens, code_locations, parse_location, parse_tail, parse_value
from emu.litmus.test import INT, POINTER, TYPES, Address, CodeAddress, Declared, Line, LitmusTest, Type, Value

_TAIL = re.compile(r"^[ \t]*(?:locations|exists|~\s*exists|not\s+exists|forall|filter|final)\b", re.M)
_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*):\s*")
_HEAD = re.compile(r"AArch64\s+(\S.*?)\s*$")
_INFO = re.compile(r"\s*([A-Za-z][\w-]*)\s*=(.*)")
_THREAD = re.compile(r"P(\d+)(.*)", re.S)
THREADS_MAX = 8
BYTES_MAX = 1 << 20


def read_test(path: Path) -> LitmusTest:
    """Return the litmus test in a file.

    :raises InvalidSubject: it cannot be read, or is no litmus test for AArch64
    :raises Untestable: it uses a part of the format that is not modelled
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSubject(f"{path}: {error.strerror}") from None
    if len(data) > BYTES_MAX or b"\0" in data:
        raise InvalidSubject(f"{path}: no litmus test: text of up to {BYTES_MAX >> 20} MiB is expected")
    return parse_test(data.decode("utf-8", "replace"), str(path))


def parse_test(text: str, file: str) -> LitmusTest:
    """Return the litmus test that ``text`` says; for the errors see :func:`read_test`."""
    text = _without_comments(text.replace("\r\n", "\n"), file)
    first, _, _ = text.partition("\n")
    head = _HEAD.match(first.strip())
    if head is None:
        raise InvalidSubject(f"{file}:1: {first[:40]!r}: a test begins with AArch64 and its name")
    begin = text.find("{")
    end = _closing(text, begin)
    if begin < 0 or end < 0:
        raise InvalidSubject(f"{file}:1: no {{...}} that says what holds at first")
    tail = _TAIL.search(text, end)
    at = tail.start() if tail else len(text)
    initial = _Initial(Tokens(text[begin + 1 : end], file, _line(text, begin)))
    threads = _threads(text[end + 1 : at], file, _line(text, end))
    condition, shown = parse_tail(Tokens(text[at:], file, _line(text, at)))
    asked = list(equalities(condition.proposition))
    shown = tuple(sorted({*shown, *(each.location for each in asked)}, key=_order))
    for register in code_locations(condition.proposition):
        initial.types.setdefault(register, TYPES["ins_t"])
    initial.complete(file, threads, shown, [each.value for each in asked])
    info = (_INFO.match(line) for line in text[:begin].splitlines()[1:])
    return LitmusTest(
        name=head[1].strip('"'),
        file=file,
        info={match[1]: match[2].strip() for match in info if match},
        threads=threads,
        variables=initial.variables,
        registers=initial.registers,
        condition=condition,
        types=initial.types,
        shown=shown,
    )


def _order(location: Location) -> tuple[int | str, ...]:
    # Registers by thread and number, then variables by name.
    if isinstance(location, Register):
        return (0, location.thread, location.number, location.is_half)
    return (1, location.name, -1 if location.element is None else location.element)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _without_comments(text: str, file: str) -> str:
    # (* ... *), which nest, as blanks, so that lines keep their numbers.
    out: list[str] = []
    depth = at = 0
    for match in re.finditer(r"\(\*|\*\)", text):
        piece = text[at : match.start()]
        out.append(re.sub(r"[^\n]", " ", piece) if depth else piece)
        if match[0] == "(*":
            depth += 1
        elif not depth:
            raise InvalidSubject(f"{file}:{_line(text, match.start())}: *) without (* before it")
        else:
            depth -= 1
        out.append("  ")
        at = match.end()
    if depth:
        raise InvalidSubject(f"{file}:{_line(text, len(text))}: a comment that does not end")
    return "".join([*out, text[at:]])


def _closing(text: str, begin: int) -> int:
    depth = 0
    for match in re.finditer(r"[{}]", text[max(begin, 0) :]):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return max(begin, 0) + match.start()
    return -1


class _Initial:
    # What the braces say: variables, registers, types.

    def __init__(self, tokens: Tokens) -> None:
        self.variables: dict[str, Declared] = {}
        self.registers: dict[Register, Value] = {}
        self.types: dict[Register, Type] = {}
        self._tokens = tokens
        while tokens.next:
            if not tokens.skip(";", ","):
                self._item()

    def _item(self) -> None:
        tokens = self._tokens
        type_ = self._type()
        at = parse_location(tokens)
        if isinstance(at, Register):
            at = at._replace(is_half=False)
            if type_ is not None:
                self.types[at] = type_
            if tokens.skip("="):
                self.registers[at] = parse_value(tokens)
        else:
            self._variable(at, type_)
        if tokens.next and tokens.next not in (";", ","):
            tokens.fail("';'")

    def _type(self) -> Type | None:
        tokens = self._tokens
        found = TYPES.get(tokens.next)
        if found is not None:
            tokens.take()
            return POINTER if tokens.skip("*") else found
        if tokens.next in ("PTE", "TTD", "pteval_t", "PARAM"):
            tokens.unmodelled(tokens.next)
        return None

    def _variable(self, at: Variable, type_: Type | None) -> None:
        tokens, count = self._tokens, 0
        if type_ is not None and at.element is not None:
            count = at.element  # `int t[3]`: three elements
            if not count:
                tokens.fail("an array of one element or more")
        held: tuple[Value, ...] = ()
        if tokens.skip("="):
            if tokens.skip("{"):
                found = []
                while not tokens.skip("}"):
                    found.append(parse_value(tokens))
                    if tokens.next != "}":
                        tokens.want(",")
                held = tuple(found)
                count = count or len(held)
                if len(held) > count:
                    tokens.fail(f"an array of {count} elements")
            else:
                held = (parse_value(tokens),)
        if type_ is None and at.element is not None:
            tokens.unmodelled("an element of an array alone")
        if type_ is None:
            holds_address = any(isinstance(value, Address | CodeAddress) for value in held)
            type_ = POINTER if holds_address else INT
        self.variables[at.name] = Declared(type_, count, held)

    def complete(
        self,
        file: str,
        threads: tuple[tuple[Line, ...], ...],
        shown: tuple[Location, ...],
        asked: Iterable[Value],
    ) -> None:
        """Check that the threads and labels that are named are there; declare variables that are only named.

        :param asked: values of the condition
        """
        count = len(threads)
        named = [*self.registers, *self.types, *(at for at in shown if isinstance(at, Register))]
        for register in named:
            if register.thread >= count:
                raise InvalidSubject(f"{file}: {register}: there are threads P0 to P{count - 1}")
        held = [value for declared in self.variables.values() for value in declared.values]
        for value in [*self.registers.values(), *held, *asked]:
            if isinstance(value, Address):
                self.variables.setdefault(value.name, Declared(INT))
            elif isinstance(value, CodeAddress):
                lines = threads[value.thread] if value.thread < count else ()
                if f"{value.label}:" not in [line.text for line in lines]:
                    raise InvalidSubject(f"{file}: P{value.thread}:{value.label}: no such label")
        for at in shown:
            if isinstance(at, Variable):
                declared = self.variables.setdefault(at.name, Declared(INT))
                if at.element is not None and at.element >= declared.count:
                    raise InvalidSubject(f"{file}: {at}: the array has {declared.count} elements")


def _threads(text: str, file: str, first: int) -> tuple[tuple[Line, ...], ...]:
    rows: list[tuple[int, list[str]]] = []
    at = 0
    for piece in text.split(";"):
        number = first + _line(text, at + len(piece) - len(piece.lstrip())) - 1
        if piece.strip():
            rows.append((number, [" ".join(cell.split()) for cell in piece.split("|")]))
        at += len(piece) + 1
    if not rows:
        raise InvalidSubject(f"{file}:{first}: no threads: P0 | P1 ; is expected behind the braces")
    number, names = rows[0]
    for index, name in enumerate(names):
        match = _THREAD.fullmatch(name)
        if match is None or int(match[1]) != index:
            raise InvalidSubject(f"{file}:{number}: {name!r}: column {index + 1} is called P{index}")
        if match[2]:
            raise Untestable(f"{file}:{number}: {name}: {match[2]} is not modelled: each is a PE at EL1")
    if len(names) > THREADS_MAX:
        raise Untestable(f"{file}:{number}: {len(names)} threads: up to {THREADS_MAX} are modelled")
    threads: list[list[Line]] = [[] for _ in names]
    for number, cells in rows[1:]:
        if len(cells) > len(names):
            raise InvalidSubject(f"{file}:{number}: {len(cells)} columns for {len(names)} threads")
        for thread, cell in zip(threads, cells, strict=False):
            rest = cell
            while label := _LABEL.match(rest):
                thread.append(Line(f"{label[1]}:", number))
                rest = rest[label.end() :]
            if rest:
                thread.append(Line(rest, number))
    return tuple(tuple(thread) for thread in threads)
