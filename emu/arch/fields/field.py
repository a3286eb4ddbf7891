"""One field of a system register, and tables of fields as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Words = Callable[[int], str]  # what a value of a field means; empty: nothing that its number does not say
Meaning = Words | Mapping[int, str]

_LINE = re.compile(r"(?P<name>[A-Za-z]\w*)\s+(?P<high>\d+)(?::(?P<low>\d+))?(?:\s+(?P<words>\S.*))?")


@dataclass(frozen=True, slots=True)
class Field:
    """Bits ``high``:``low`` of a register.

    :ivar words: what a value of the field means
    :ivar values: the values that have a name each, where these are few
    """

    name: str
    high: int
    low: int
    words: Words
    values: Mapping[int, str]

    @property
    def width(self) -> int:
        """Its number of bits."""
        return self.high - self.low + 1

    @property
    def is_address(self) -> bool:
        """Whether its words are an address, of which it has the upper bits."""
        return self.words(1).startswith("0x")

    @property
    def mask(self) -> int:
        """Its bits, in the register."""
        return ((1 << self.width) - 1) << self.low

    def of(self, value: int) -> int:
        """Return the field of a register (u64)."""
        return (value & self.mask) >> self.low


Fields = tuple[Field, ...]


def fields(text: str, **words: Meaning) -> Fields:
    """Return the fields that a table lists, one a line: ``NAME HIGH[:LOW] [WORDS]``, the lowest first.

    :param text: WORDS is what a field of one bit means when it is set
    :param words: by field, what its values mean
    """
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        assert match is not None, line
        name, high = match["name"], int(match["high"])
        spoken = words.get(name, {1: match["words"]} if match["words"] else {})
        found.append(field(name, high, int(match["low"] or high), spoken))
    unknown = words.keys() - {each.name for each in found}
    assert not unknown, f"no field is called {', '.join(sorted(unknown))}"
    return tuple(found)


def field(name: str, high: int, low: int, words: Meaning) -> Field:
    """Return a field; ``words``: what its values mean."""
    if isinstance(words, Mapping):
        return Field(name, high, low, lambda value: words.get(value, ""), words)
    return Field(name, high, low, words, {})


def address(low: int) -> Words:
    """Return the words of a field that is an address from bit ``low`` on."""
    return lambda value: f"{value << low:#x}"


def of_four_bits(names: str, **words: Meaning) -> Fields:
    """Return the fields of an ID register: four bits each, the lowest first; ``-`` is reserved."""
    rows = [f"{name} {4 * at + 3}:{4 * at}" for at, name in enumerate(names.split()) if name != "-"]
    return fields("\n".join(rows), **words)
