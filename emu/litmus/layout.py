"""Places a litmus test in memory: its variables, and its threads as the project's assembler makes them.

A thread ends in a branch to itself, where its final registers are read. Variables lie in exclusives granules
of their own, each in 8 bytes or more, so that an access of 8 bytes to an ``int`` meets no other.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emu.arch.boot import IMAGE_PA
from emu.errors import AssemblyError
from emu.litmus.condition import Variable, equalities
from emu.litmus.propositions import value_text
from emu.litmus.test import Address, CodeAddress, Instruction, LitmusTest, Value
from emu.semantics.monitors import GRANULE
from emu.subject.assembler import assemble, chosen
from emu.subject.assembly_source import Statement
from emu.subject.assembly_text import flatten

BASE = 0x40_0000_0000  # PA of memory: no int is an address
CODE = BASE + 0x1000
SIZE = 0x40_0000
_DATA = BASE + 0x20_0000
_LEAST = 8  # bytes of a variable
_WORD = re.compile(r"[A-Za-z_.$][\w.$]*")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, and what values are as numbers (u64).

    :ivar code: the bytes at ``CODE``
    :ivar entries, ends: PA of the first instruction of each thread, and of the branch behind its last one
    :ivar instructions: the text of an instruction by its word
    :ivar labels: PA of the labels of the threads
    :ivar variables: PA of each variable
    """

    test: LitmusTest
    code: bytes
    entries: tuple[int, ...]
    ends: tuple[int, ...]
    instructions: Mapping[int, str]
    words: Mapping[Instruction, int]
    labels: Mapping[CodeAddress, int]
    variables: Mapping[str, int]

    def pa(self, at: Variable) -> int:
        """Return the PA of a variable, or of an element of one."""
        return self.variables[at.name] + (at.element or 0) * self.test.type_of(at).size

    def number(self, value: Value) -> int:
        """Return a value as u64."""
        match value:
            case Address(name, element):
                return self.pa(Variable(name, element))
            case CodeAddress():
                return self.labels[value]
            case Instruction():
                return self.words[value]
        return value & 2**64 - 1

    def registers(self, thread: int) -> dict[int, int]:
        """Return what the registers of a thread hold at first (u64), by number: 0 but for those named."""
        held = self.test.registers.items()
        named = {at.number: self.number(value) for at, value in held if at.thread == thread}
        return {number: named.get(number, 0) for number in range(31)}

    def memory(self) -> Iterator[tuple[int, int, int]]:
        """Yield what variables hold at first: PA, bytes, value (u64)."""
        for name, declared in self.test.variables.items():
            size = declared.type.size if declared.count else max(declared.type.size, _LEAST)
            for index, value in enumerate(declared.values):
                yield self.variables[name] + index * size, size, self.number(value)

    def name_of(self, number: int) -> str | None:
        """Return the name of what lies at a PA: a variable, an element, a label; None: nothing does."""
        for name, pa in self.variables.items():
            declared = self.test.variables[name]
            index, rest = divmod(number - pa, declared.type.size)
            if number == pa or (not rest and 0 <= index < declared.count):
                return value_text(Address(name, index))
        for label, pa in self.labels.items():
            if pa == number:
                return value_text(label)
        return None


def place(tests: Sequence[LitmusTest]) -> list[Layout | AssemblyError]:
    """Return the layout of each test, or why no assembler makes one.

    Tests are assembled together where that can be: to start an assembler takes longer than to run one.
    """
    texts = [_Text(test, f"T{number}.") for number, test in enumerate(tests)]
    found: dict[_Text, _Assembled | AssemblyError] = {}
    _assemble_together([text for text in texts if not text.is_absolute], found)
    for text in texts:
        if text not in found:
            found[text] = _assemble_alone(text)
    return [_layout(text, found[text]) for text in texts]


class _Assembled(NamedTuple):
    # The code of one test, its labels as offsets in it, and the offset of each line, None where it is none.
    code: bytes
    labels: Mapping[str, int]
    lines: Sequence[int | None]


def _assemble_together(texts: Sequence[_Text], found: dict[_Text, _Assembled | AssemblyError]) -> None:
    # With Keystone. A test that it refuses is left out, and so are those with the same mnemonic.
    left = list(texts)
    while left:
        whole = [line for text in left for line in text.lines]
        try:
            made = assemble(flatten(whole, {}), {})
        except AssemblyError as refused:
            reason = str(refused)
            at = next(
                (
                    line
                    for line in whole
                    if line.is_instruction and reason.startswith(f"{line.file}:{line.number}: {line.text}:")
                ),
                None,
            )
            if at is None:
                return
            word = at.text.split()[0].upper()
            left = [text for text in left if word not in text.mnemonics]
            continue
        first = 0
        for text in left:
            lines = made.lines[first : first + len(text.lines)]
            first += len(text.lines)
            begin = made.labels[text.first]
            end = made.labels[text.last]
            found[text] = _Assembled(
                made.code[begin - IMAGE_PA : end - IMAGE_PA],
                {name: pa - begin for name, pa in made.labels.items() if name in text.labels},
                [None if pa is None else pa - begin for pa in lines],
            )
        return


def _assemble_alone(text: _Text) -> _Assembled | AssemblyError:
    # With another assembler where Keystone refuses it.
    try:
        try:
            made = assemble(flatten(text.lines, {}), {})
        except AssemblyError as refused:
            return _assemble_elsewhere(text, refused)
    except AssemblyError as error:
        return error
    places = [None if pa is None else pa - IMAGE_PA for pa in made.lines]
    return _Assembled(made.code, {name: pa - IMAGE_PA for name, pa in made.labels.items()}, places)


def _assemble_elsewhere(text: _Text, refused: AssemblyError) -> _Assembled:
    from emu.subject.toolchain import assemble_elsewhere

    marked = "".join(f'# {line.number} "{line.file}"\n{line.text}\n' for line in text.lines)
    with tempfile.TemporaryDirectory(prefix="emu-litmus-") as folder:
        path = Path(folder) / "test.S"
        path.write_text(marked, encoding="utf-8")
        subject = assemble_elsewhere(
            path, refused, by=chosen().name, constants={}, symbols={}, include_dirs=()
        )
    segment = subject.segments[0]
    labels = {name: subject.va(name) - subject.va_offset - segment.pa for name in text.labels}
    places: list[int | None] = []
    at = 0
    for line in text.lines:
        places.append(at if line.is_instruction else None)
        at += 4 * line.is_instruction
    return _Assembled(segment.data, labels, places)


def _layout(text: _Text, made: _Assembled | AssemblyError) -> Layout | AssemblyError:
    if isinstance(made, AssemblyError):
        return made
    test, prefix = text.test, text.prefix
    variables, at = {}, _DATA
    for name, declared in sorted(test.variables.items()):
        variables[name] = at
        at += -(-max(declared.type.size * max(declared.count, 1), _LEAST) // GRANULE) * GRANULE

    def word(offset: int) -> int:
        return int.from_bytes(made.code[offset : offset + 4], "little")

    instructions: dict[int, str] = {}
    for line, offset in zip(text.lines, made.lines, strict=True):
        if offset is not None:
            instructions.setdefault(word(offset), _as_herd(line.text, made.labels, offset))
    threads = range(len(test.threads))
    return Layout(
        test=test,
        code=made.code,
        entries=tuple(CODE + made.labels[f"{prefix}P{thread}"] for thread in threads),
        ends=tuple(CODE + made.labels[f"{prefix}P{thread}.end"] for thread in threads),
        instructions=instructions,
        words={value: word(made.labels[name]) for value, name in text.words.items()},
        labels={
            CodeAddress(thread, line.text[:-1]): CODE + made.labels[f"{prefix}P{thread}.at.{line.text[:-1]}"]
            for thread in threads
            for line in test.threads[thread]
            if line.text.endswith(":")
        },
        variables=variables,
    )


def _as_herd(text: str, labels: Mapping[str, int], pa: int) -> str:
    # An instruction as herd prints it as a value: no blanks behind commas, labels as offsets.
    def offset(match: re.Match[str]) -> str:
        return f".{labels[match[0]] - pa:+d}" if match[0] in labels else match[0]

    mnemonic, _, operands = text.partition(" ")
    return f"{mnemonic} {_WORD.sub(offset, operands.replace(' ', ''))}".strip()


class _Text:
    # The threads of a test as one text for the assembler: labels are those of their thread, after `prefix`.

    def __init__(self, test: LitmusTest, prefix: str) -> None:
        self.test, self.prefix = test, prefix
        self.lines: list[Statement] = []
        self.words: dict[Instruction, str] = {}
        for number, thread in enumerate(test.threads):
            own = {line.text[:-1] for line in thread if line.text.endswith(":")}
            self._add(f"{prefix}P{number}:", 1)
            for line in thread:
                self._add(_renamed(line.text, f"{prefix}P{number}.at.", own), line.number)
            self._add(f"{prefix}P{number}.end:", 1)
            self._add(f"b {prefix}P{number}.end", 1)
        for value in self._instruction_values():
            self.words.setdefault(value, f"{prefix}word.{len(self.words)}")
            self._add(f"{self.words[value]}:", 1)
            self._add(value.text, 1)
        self.first, self.last = f"{prefix}P0", f"{prefix}last"
        self._add(f"{self.last}:", 1)
        self.labels = {line.text[:-1] for line in self.lines if line.text.endswith(":")}
        self.mnemonics = {line.text.split()[0].upper() for line in self.lines if line.is_instruction}

    @property
    def is_absolute(self) -> bool:
        """Whether it has an instruction that depends on where in a page it lies."""
        return "ADRP" in self.mnemonics or any(":lo12:" in line.text for line in self.lines)

    def _instruction_values(self) -> Iterator[Instruction]:
        test = self.test
        held = [value for declared in test.variables.values() for value in declared.values]
        found = [
            *test.registers.values(),
            *held,
            *(asked.value for asked in equalities(test.condition.proposition)),
        ]
        yield from dict.fromkeys(value for value in found if isinstance(value, Instruction))

    def _add(self, text: str, number: int) -> None:
        self.lines.append(Statement(text, self.test.file, number))


def _renamed(text: str, prefix: str, own: set[str]) -> str:
    # A line with the labels of its thread made different from those of others.
    if text.endswith(":"):
        return prefix + text
    mnemonic, _, operands = text.partition(" ")
    renamed = _WORD.sub(lambda word: f"{prefix}{word[0]}" if word[0] in own else word[0], operands)
    return f"{mnemonic} {renamed}".strip()
