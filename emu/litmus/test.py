"""A litmus test as data: what its text says, before anything is placed or assembled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from emu.litmus.condition import Condition, Location, Register, Variable


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a variable or register: ``size`` in bytes, and how its final value is printed.

    :ivar is_pointer: it holds an address, 8 bytes
    :ivar is_code: it holds an instruction word (``ins_t``)
    """

    size: int = 4
    is_signed: bool = True
    is_pointer: bool = False
    is_code: bool = False

    def number(self, value: int) -> int:
        """Return the value of the type's low bytes of ``value`` (u64), with its sign."""
        low = value & (1 << 8 * self.size) - 1
        return low - (low >> 8 * self.size - 1 << 8 * self.size) if self.is_signed else low


INT = Type()  # of what has no type
POINTER = Type(8, is_pointer=True)
TYPES = {
    "int": INT,
    "long": Type(8),
    "intptr_t": Type(8),
    "uintptr_t": Type(8, is_signed=False),
    "ins_t": Type(is_signed=False, is_code=True),
    **{f"int{8 * size}_t": Type(size) for size in (1, 2, 4, 8)},
    **{f"uint{8 * size}_t": Type(size, is_signed=False) for size in (1, 2, 4, 8)},
}


class Address(NamedTuple):
    """The address of a variable, ``element`` elements on."""

    name: str
    element: int = 0


class CodeAddress(NamedTuple):
    """The address of a label of a thread."""

    thread: int
    label: str


class Instruction(NamedTuple):
    """An instruction as a value: its word."""

    text: str


Value = int | Address | CodeAddress | Instruction


@dataclass(frozen=True, slots=True)
class Declared:
    """A variable: its type, how many elements it has (0: it is no array), and what they are at first."""

    type: Type
    count: int = 0
    values: tuple[Value, ...] = ()


class Line(NamedTuple):
    """An instruction or a label (``NAME:``) of a thread, and the line of the file that it is in."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class LitmusTest:
    """One test.

    :ivar file: its path, as errors name it
    :ivar info: ``KEY=VALUE`` lines of its head
    :ivar threads: the program of each
    :ivar registers: what they hold at first; others hold 0
    :ivar types: of registers that have one
    :ivar shown: locations of the final state, those of the condition included
    """

    name: str
    file: str
    info: Mapping[str, str]
    threads: tuple[tuple[Line, ...], ...]
    variables: Mapping[str, Declared]
    registers: Mapping[Register, Value]
    condition: Condition
    types: Mapping[Register, Type] = field(default_factory=dict)
    shown: tuple[Location, ...] = ()

    def type_of(self, location: Location) -> Type:
        """Return the type of what is at a location."""
        if isinstance(location, Variable):
            declared = self.variables.get(location.name)
            return declared.type if declared else INT
        return self.types.get(location._replace(is_half=False), INT)
