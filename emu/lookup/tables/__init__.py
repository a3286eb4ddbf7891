"""What the tables of a lookup hold, and how each is filled from a logical map.

A module here with ``NAME`` and ``KIND`` is one kind; its docstring says what is in it, the first line in
short. A contract may also name a Python file with the same two (``holds = "my_tables.py"``).

A logical map is a sequence with a place for each logical CPU, at most NR_CPUS of them: the CPU's hwid (u64),
or None where there is no such CPU. Where it is shorter there are no more CPUs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidCase, InvalidContract
from emu.lookup.contract import LookupTable
from emu.lookup.expression import evaluate
from emu.lookup.user_file import load_definition
from emu.registry import discover, not_one_of, part_of

LogicalMap = Sequence[int | None]

ELEMENTS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
SIZE_MAX = 16 << 20  # bytes of one table
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class DoesNotFit(InvalidCase):
    """A logical map that this table cannot hold: no finding, the case is left out."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table is laid out.

    :ivar element: bytes of an entry, 1, 2, 4 or 8
    :ivar count: entries
    :ivar unused: value of an entry that belongs to no CPU, of ``element`` bytes
    """

    element: int
    count: int
    unused: int

    def pack(self, values: Sequence[int]) -> bytes:
        """Return little-endian entries: ``values``, then unused ones up to ``count``.

        :raises DoesNotFit: more values than entries, or one that is wider than an entry
        """
        room = self.count - len(values)
        if room < 0:
            raise DoesNotFit(f"{len(values)} values for a table of {self.count} entries")
        try:
            head = struct.pack(f"<{len(values)}{_CODES[self.element]}", *values)
        except struct.error:
            wide = next(value for value in values if not 0 <= value < 1 << 8 * self.element)
            raise DoesNotFit(f"{wide:#x} does not fit an entry of {self.element} bytes") from None
        return head + self.unused.to_bytes(self.element, "little") * room


@dataclass(frozen=True, slots=True)
class TableKind:
    """What a table holds.

    :ivar fill: its bytes, ``element * count`` of them, for a logical map; DoesNotFit where it has no room
    :ivar unused: value of an unused entry where the contract says none: its low bytes count
    :ivar element: bytes of an entry where the contract says none
    :ivar count: entries where the contract says none, an expression over the defines
    :ivar exact: a structure: it has ``element`` and ``count`` and no other
    :ivar per_cpu: whether it has an entry for each of NR_CPUS CPUs, and so no fewer entries
    """

    fill: Callable[[LogicalMap, Shape], bytes]
    unused: int = 2**64 - 1
    element: int = 8
    count: str = "NR_CPUS"
    exact: bool = False
    per_cpu: bool = True


def get_kind(holds: str) -> TableKind:
    """Return the kind called ``holds``, or the one in that ``.py`` file.

    :raises InvalidContract: there is none, or the file does not define one
    """
    if holds in KINDS:
        return KINDS[holds]
    if not holds.endswith(".py"):
        raise InvalidContract(f"{holds!r}: {not_one_of(holds, KINDS)}; or a .py file")
    _name, kind = load_definition(Path(holds), "KIND", TableKind)
    return kind


def shape_of(table: LookupTable, names: Mapping[str, int]) -> Shape:
    """Return the layout of a table for given values of the defines.

    :param names: every define with its value, NR_CPUS among them
    :raises InvalidContract: the count cannot be evaluated, is no count, or the table is over SIZE_MAX
    """
    count = evaluate(table.count, names)
    if not 1 <= count <= SIZE_MAX // table.element:
        raise InvalidContract(
            f"{table.count!r} is {count}: a table has 1..{SIZE_MAX // table.element} entries"
        )
    unused = get_kind(table.holds).unused if table.unused is None else table.unused
    if isinstance(unused, str):
        unused = evaluate(unused, names)
    return Shape(table.element, count, unused & (1 << 8 * table.element) - 1)


def fill(table: LookupTable, logical_map: LogicalMap, names: Mapping[str, int]) -> bytes:
    """Return what ``table`` holds for a logical map: all its entries, used or not.

    :param names: every define with its value, NR_CPUS among them
    :raises DoesNotFit: this table cannot hold that map: more CPUs than entries, or a wider number
    :raises InvalidContract: the table has no size, or a kind of the user's own misbehaves
    """
    shape = shape_of(table, names)
    kind = get_kind(table.holds)
    if table.holds in KINDS:
        return kind.fill(logical_map, shape)
    try:
        data = kind.fill(logical_map, shape)
    except InvalidCase:
        raise
    except Exception as error:  # theirs may raise anything
        raise InvalidContract(f"{table.holds}: fill: {type(error).__name__}: {error}") from error
    size = shape.element * shape.count
    if not isinstance(data, bytes) or len(data) != size:
        got = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise InvalidContract(f"{table.holds}: fill: returned {got}; the table has {size} bytes")
    return data


@dataclass(frozen=True, slots=True)
class TableKindFile:
    """What a module of this folder defines.

    :ivar name: as contracts have it
    :ivar kind: the kind of table
    :ivar summary: what is in it, in one line
    """

    name: str
    kind: TableKind
    summary: str


KINDS = part_of(discover(__name__, TableKindFile), lambda file: file.kind)
