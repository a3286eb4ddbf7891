"""The records of a trace in memory: rows of 28 bytes, numbered, and the strings that they name.

Each SEV wakes every CPU in a holding pen. Written out, that is the square of the number of CPUs, so the WAKE
records of a crowd may be kept as one, a lot. Who reads does not see that.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, compress, repeat
from operator import mul
from typing import NamedTuple

from emu.columns import RECORD as RECORD
from emu.columns import Columns, in_all
from emu.finding import PC, Source
from emu.operation import Kind, Record
from emu.outcome import End, Outcome

HEADED = struct.Struct("<IQQQ")  # a RECORD whose first fields are one number, of head_of()
LOT = RECORD.pack(Kind.WAKE, 0, 0, 0, 0, 0)  # stands for a lot of them, in memory alone
HOST_PC = 1 << 63 | 1 << 62  # pc of a host task's operation: this plus the number of the string "file:line"
_HOST_PC_SPAN = 1 << 32
_NO_WAKES = re.compile(b"[^" + re.escape(bytes([Kind.WAKE])) + b"]+", re.DOTALL)  # of kinds
Row = tuple[int, int, int, int, int, int]  # kind, size, actor, pc, pa, value of a record


@dataclass(slots=True)
class EngineRecords:
    """Records that an engine makes by itself while it runs a PE.

    :ivar rows: the records; their kind, size and actor are packed together, as :func:`head_of` has them
    :ivar begun: of each, the instructions that the run had begun
    :ivar since: time (ns) at which the PE that runs would have begun its first instruction
    :ivar ns: of an instruction
    """

    ns: int
    rows: bytearray = field(default_factory=bytearray)
    begun: array[int] = field(default_factory=lambda: array("Q"))
    since: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)  # of each the first record, and when (ns)

    def begin(self, time: int) -> None:
        """A run begins at ``time`` (ns); the records from here on are of that."""
        if self.runs and self.runs[-1][0] == len(self.begun):
            self.runs.pop()
        self.runs.append((len(self.begun), time))

    def add(self, head: int, pc: int, pa: int, value: int, begun: int) -> None:
        """Append a record. What is called some million times does this by itself."""
        self.rows += HEADED.pack(head, pc, pa, value)
        self.begun.append(begun)

    def take(self) -> tuple[bytes, array[int]]:
        """Return the records as a trace has them, and the time of each (ns); there are none left."""
        rows, times = bytes(self.rows), self._times()
        self.rows.clear()
        del self.begun[:]
        self.runs[:] = [(0, self.runs[-1][1])]
        return rows, times

    def _times(self) -> array[int]:
        begun, times = self.begun, array("Q")
        ends = [at for at, _ in self.runs[1:]] + [len(begun)]
        for (first, time), end in zip(self.runs, ends, strict=True):
            times += in_all(begun[first:end], self.ns, time)
        return times


def head_of(kind: Kind, size: int, cpu: int) -> int:
    """Return the first four bytes of a record, as a number."""
    return kind | size << 8 | cpu << 16


class Wakes(NamedTuple):
    """CPUs that wake: each of ``places`` with its pc (a VA), and by pc sets of CPUs, as bits."""

    places: tuple[tuple[int, int], ...]
    crowds: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.places) + sum(bits.bit_count() for _, bits in self.crowds)

    def in_order(self) -> list[tuple[int, int]]:
        """Return CPU and pc of each, ascending."""
        crowds = (
            [(cpu, pc) for cpu, digit in enumerate(bin(bits)[:1:-1]) if digit == "1"]
            for pc, bits in self.crowds
        )
        return sorted(chain(self.places, *crowds))


class Lots:
    """The lots of one trace, and how records are counted that has them as one each.

    A record has an index, among those that are kept, and a number, among all.

    :ivar indices: of the lots, ascending
    """

    def __init__(self) -> None:
        self.indices: list[int] = []
        self._behind: list[int] = []  # number of the record behind the lot
        self._wakes: list[Wakes] = []

    def __bool__(self) -> bool:
        return bool(self.indices)

    def add(self, index: int, wakes: Wakes) -> None:
        """The record at ``index`` is the last one, and stands for ``wakes``."""
        self._behind.append(self.number(index) + wakes.total)
        self.indices.append(index)
        self._wakes.append(wakes)

    def number(self, index: int) -> int:
        """Return the number of the record at ``index``; of a lot, that of its first."""
        before = bisect_left(self.indices, index)
        return self._behind[before - 1] + index - self.indices[before - 1] - 1 if before else index

    def find(self, number: int) -> tuple[int, tuple[int, int] | None]:
        """Return the index of record ``number``, and CPU and pc where it is one of a lot."""
        low, high = 0, number
        while low < high:
            middle = (low + high + 1) // 2
            if self.number(middle) <= number:
                low = middle
            else:
                high = middle - 1
        at = bisect_left(self.indices, low)
        if at == len(self.indices) or self.indices[at] != low:
            return low, None
        return low, self._wakes[at].in_order()[number - self.number(low)]

    def within(self, span: range) -> list[tuple[int, Wakes]]:
        """Return index and CPUs of each lot whose index is in ``span``."""
        first, last = bisect_left(self.indices, span.start), bisect_left(self.indices, span.stop)
        return list(zip(self.indices[first:last], self._wakes[first:last], strict=True))

    def copy(self) -> Lots:
        """Return the same lots, to be added to."""
        other = Lots()
        other.indices, other._behind = list(self.indices), list(self._behind)
        other._wakes = list(self._wakes)
        return other


class StringTable:
    """The strings of a trace by number, and what records name by them: places of host tasks, outcomes."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._numbers: dict[str, int] = {}

    def string(self, text: str) -> int:
        """Return the number of ``text``, adding it when it is new."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.strings)
            self.strings.append(text)
        return number

    def text_of(self, record: Record) -> str:
        """Return the string that the record's value numbers."""
        return self.strings[record.value]

    def outcome(self, end: int, name: int, number: int) -> Outcome:
        """Return the outcome in an OUTCOME record, of its ``size``, ``value`` and ``pa``."""
        return Outcome(End(end), self.strings[name], number)

    def place(self, pc: int) -> PC | Source:
        """Return the place of an operation whose record has ``pc``."""
        location = self.location(pc)
        return PC(pc) if location is None else Source(location)

    def host_pc(self, where: str) -> int:
        """Return the pc of an operation that a host task does at ``file:line``."""
        return HOST_PC + self.string(where)

    def location(self, pc: int) -> str | None:
        """Return ``file:line`` when ``pc`` is that of a host task, else None."""
        number = pc - HOST_PC
        return self.strings[number] if 0 <= number < min(_HOST_PC_SPAN, len(self.strings)) else None


class Records(StringTable):
    """The records of one run, to be read in order."""

    def __init__(self) -> None:
        super().__init__()
        self._records = bytearray()
        self._lots = Lots()
        self._columns: Columns | None = None

    def __len__(self) -> int:
        kept, lots = len(self._records) // RECORD.size, self._lots
        return lots.number(kept) if lots.indices else kept

    @property
    def has_lots(self) -> bool:
        """Whether WAKE records of many CPUs are kept as one."""
        return bool(self._lots)

    def __iter__(self) -> Iterator[Record]:
        for kind, size, actor, pc, pa, value in self.rows():
            yield Record(Kind(kind), actor, size, pc, pa, value)

    def has(self, *kinds: Kind) -> bool:
        """Tell whether there is a record of any of these kinds."""
        return _runs_of(frozenset(kinds)).search(self._records[:: RECORD.size]) is not None

    def row(self, number: int) -> Row:
        """Return (kind, size, actor, pc, pa, value) of record ``number``."""
        if self._lots:
            number, place = self._lots.find(number)
            if place is not None:
                return (Kind.WAKE, 0, *place, 0, 0)
        return RECORD.unpack_from(self._records, number * RECORD.size)

    def rows(self) -> Iterator[Row]:
        """Yield (kind, size, actor, pc, pa, value) without making objects."""
        return RECORD.iter_unpack(self._whole())

    def columns(self) -> Columns:
        """Return the fields of the records so far, as they are kept: a lot is one WAKE."""
        columns = self._columns
        if columns is None or not columns.are_all_of(self._records):
            columns = self._columns = Columns(self._records)
        return columns

    def flagged(self, flags: bytes) -> Iterator[tuple[int, Row]]:
        """Yield each row of :meth:`columns` that has its flag set, with the number of its record."""
        indices = list(compress(range(len(flags)), flags))
        numbers = map(self._lots.number, indices) if self._lots else iter(indices)
        places = map(mul, indices, repeat(RECORD.size))
        return zip(numbers, map(RECORD.unpack_from, repeat(self._records), places), strict=True)

    @staticmethod
    def rows_of(records: bytes) -> Iterator[Row]:
        """Yield (kind, size, actor, pc, pa, value) of records that :meth:`take` gave."""
        return RECORD.iter_unpack(records)

    def boots(self) -> list[Iterator[Row]]:
        """Return the rows of each boot: up to SHUTDOWN, then from REENTRY on; of a single boot, all rows."""
        return [RECORD.iter_unpack(self._whole(span)) for span in _boots(self._records)]

    def numbered(self, kinds: frozenset[Kind] = frozenset()) -> Iterator[tuple[int, Row]]:
        """Yield every row but those of WAKE, with the number of its record.

        Each SEV has a WAKE for every CPU that slept, which is most of a trace of many CPUs in a holding pen.

        :param kinds: yield the rows of these kinds alone; of none: all
        """
        return self._numbered(range(len(self._records) // RECORD.size), kinds)

    def numbered_boots(self, kinds: frozenset[Kind] = frozenset()) -> list[Iterator[tuple[int, Row]]]:
        """Return the rows of each boot as :meth:`numbered` does all."""
        return [self._numbered(span, kinds) for span in _boots(self._records)]

    def _numbered(self, span: range, kinds: frozenset[Kind]) -> Iterator[tuple[int, Row]]:
        records = self._slice(span)
        view = memoryview(records)

        def rows(first: int, last: int) -> Iterator[tuple[int, Row]]:
            part = view[first * RECORD.size : last * RECORD.size]
            return enumerate(RECORD.iter_unpack(part), self._lots.number(span.start + first))

        parts = _runs_of(kinds).finditer(records[:: RECORD.size])
        return chain.from_iterable(rows(*part.span()) for part in parts)

    def _slice(self, span: range) -> bytes:
        return bytes(self._records[span.start * RECORD.size : span.stop * RECORD.size])

    def _whole(self, span: range | None = None) -> bytes:
        # The records with these indices, each one of a lot by itself.
        if span is None:
            span = range(len(self._records) // RECORD.size)
        parts, at = [], span.start
        for index, wakes in self._lots.within(span):
            parts.append(self._slice(range(at, index)))
            parts += [RECORD.pack(Kind.WAKE, 0, cpu, pc, 0, 0) for cpu, pc in wakes.in_order()]
            at = index + 1
        parts.append(self._slice(range(at, span.stop)))
        return b"".join(parts)

    def _write_out(self) -> None:
        # Keep each record by itself.
        self._records, self._lots = bytearray(self._whole()), Lots()


@cache
def _runs_of(kinds: frozenset[Kind]) -> re.Pattern[bytes]:
    # What finds, in the kinds of records, those that Records.numbered() yields.
    return re.compile(b"[" + re.escape(bytes(sorted(kinds))) + b"]+", re.DOTALL) if kinds else _NO_WAKES


def _boots(records: bytearray) -> list[range]:
    # The numbers of the records of each boot.
    kinds, found, start = bytes(records[:: RECORD.size]), [], 0
    while start >= 0:
        end = kinds.find(Kind.SHUTDOWN, start)
        found.append(range(start, end if end >= 0 else len(kinds)))
        start = kinds.find(Kind.REENTRY, end) if end >= 0 else -1
    return found
