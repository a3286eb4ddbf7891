"""Traces: everything that happened in a run, in order, in a compact form.

File format (all integers little-endian):

    8 bytes   b"EMUTRACE"
    u16       version: 1, or 2 when there are instructions
    u32       length of the case text, then the text (UTF-8, one line)
    chunks    u8 tag, u32 length, then that many bytes
              tag 1: zlib-compressed records of 28 bytes: u8 kind, u8 size, u16 actor,
                     u64 pc, u64 pa, u64 value
              tag 2: one string (UTF-8); strings are numbered from 0 in file order
              tag 3: instructions (:mod:`emu.instructions`), before the records INSTRUCTIONS that use them
              tag 4: rows of u64 PC, u32 instruction word there, from here on
              tag 5: symbols: u64 VA minus PA, u64 VA of the image, u64 VA behind it, u64 VA minus PA
                     of the linear map, then zlib-compressed System.map text

Kinds are :class:`emu.operation.Kind`. A string comes before the first record that uses it. A chunk is
written whole and flushed, so a recording that is cut off is readable up to its last chunk.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from emu.arch.dataflow import DataFlow
from emu.errors import EmuError, InvalidSubject
from emu.instructions import InstructionRecorder, InstructionRow, unpack, values
from emu.operation import Expect, Kind, Record, Register, Report
from emu.outcome import End, Outcome
from emu.records import HOST_PC as HOST_PC
from emu.records import LOT, RECORD, EngineRecords, Lots, Wakes
from emu.records import Records as Records
from emu.records import Row as Row

MAGIC = b"EMUTRACE"
VERSION = 1
VERSION_INSTRUCTIONS = 2
_CHUNK = struct.Struct("<BI")
_CODE = struct.Struct("<QI")
_SYMBOLS = struct.Struct("<QQQQ")
_CHUNK_RECORDS = 1 << 15
_HEADER_SIZE = 14
_RECORDS_BYTES_MAX = 1 << 32  # of one chunk, unpacked
_KINDS, _REGISTERS = frozenset(Kind), frozenset(Register)
_OF_SIZE = {Kind.EXPECT: frozenset(Expect), Kind.OUTCOME: frozenset(End), Kind.REPORT: frozenset(Report)}
# value: its number
_WITH_STRING = frozenset(
    {Kind.MISUSE, Kind.UNSUPPORTED, Kind.LOG, Kind.OUTCOME, Kind.REPORT, Kind.NEXT_BOOT, Kind.PROPERTY}
)


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """System.map text, and VA minus PA of the image (VAs from ``start`` on, below ``end``) and elsewhere."""

    va_offset: int
    start: int
    end: int
    linear_offset: int
    text: bytes


class Trace(Records):
    """Collects the records of one run. With a sink (:meth:`attach`) they are also written to a file.

    :ivar is_cut: it was read from a file that ends amid a chunk
    """

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.is_cut = False
        self._sink: BinaryIO | None = None
        self._written = 0
        self._strings_written = 0
        self.steps: InstructionRecorder | None = None  # the source of instructions, when they are recorded
        self.made: EngineRecords | None = None  # what an engine puts in by itself
        self.flow = DataFlow(lambda _pc: None)  # of the code that runs
        self.symbols: SymbolTable | None = None
        self._bodies: list[tuple[int, bytes]] = []  # chunks 3 and 4
        self._bodies_written = 0
        self.times: array[int] = array("Q")  # simulated time of each record (ns), when it is recorded
        self._clock: Callable[[int], int] | None = None
        self._words: dict[int, int] = {}

    def attach(self, sink: BinaryIO) -> None:
        """Write the records so far to ``sink``, and from now on each further chunk."""
        assert self._sink is None, "one sink"
        self._write_out()
        self._sink = sink
        text = self.case.encode(errors="backslashreplace")
        version = VERSION if self.steps is None else VERSION_INSTRUCTIONS
        self._write(MAGIC + struct.pack("<HI", version, len(text)) + text)
        self.flush()

    def detach(self) -> None:
        """Write the records so far to the file, and none that follow."""
        self.flush()
        self._sink = None

    def add(self, kind: Kind, actor: int, size: int, pc: int, pa: int, value: int) -> None:
        """Append one record: size in bytes, pc a VA, pa a PA, value a u64."""
        if self.steps is not None:
            self._account(0)
        if self.made is not None:
            self.take_made()
        self._records += RECORD.pack(kind, size, actor, pc, pa, value)
        if self._clock is not None:
            self._stamp(actor)
        if self._sink and len(self._records) - self._written >= _CHUNK_RECORDS * RECORD.size:
            self.flush()

    def take_made(self) -> None:
        """Append what the engine has made since, with its times."""
        made = self.made
        assert made is not None
        if not made.rows:
            return
        packed, times = made.take()
        self._records += packed
        if self._clock is not None:
            self.times.extend(times)

    def add_events(self, kind: Kind, places: Iterable[tuple[int, int]]) -> None:
        """Append a record for each (actor, pc), with nothing else in it."""
        if self.steps is None and self._clock is None and self._sink is None:
            pack = RECORD.pack
            self._records += b"".join([pack(kind, 0, actor, pc, 0, 0) for actor, pc in places])
            return
        for actor, pc in places:
            self.add(kind, actor, 0, pc, 0, 0)

    @property
    def keeps_wakes(self) -> bool:
        """Whether :meth:`add_wakes` may keep a crowd as one: nobody asks for the time or place of each."""
        return self.steps is None and self._clock is None and self._sink is None

    def add_wakes(self, places: Sequence[tuple[int, int]], crowds: Sequence[tuple[int, int]]) -> None:
        """Append a WAKE of each CPU, ascending.

        :param places: CPU and pc
        :param crowds: pc, and the CPUs there as a set
        """
        wakes = Wakes(tuple(places), tuple(each for each in crowds if each[1]))
        if wakes.crowds and self.keeps_wakes:
            self._lots.add(len(self._records) // RECORD.size, wakes)
            self._records += LOT
        else:
            self.add_events(Kind.WAKE, wakes.in_order())

    def add_registers(self, actor: int, pc: int, registers: Iterable[tuple[int, int]]) -> None:
        """Append a REGISTER record for each (:class:`emu.operation.Register`, value)."""
        pack = RECORD.pack
        self._records += b"".join([pack(Kind.REGISTER, 8, actor, pc, r, value) for r, value in registers])

    def add_outcome(self, cpu: int, pc: int, outcome: Outcome) -> None:
        """Append that ``cpu`` ends at ``pc`` (a VA; 0: in a host task)."""
        self.add(Kind.OUTCOME, cpu, outcome.end, pc, outcome.number, self.string(outcome.name))

    def record_instructions(self, steps: InstructionRecorder) -> None:
        """Record every instruction of ``steps``; call this before :meth:`attach`."""
        assert self._sink is None, "the header says whether there are instructions"
        self._write_out()
        self.steps = steps
        steps.flush = self.flush

    def record_times(self, clock: Callable[[int], int]) -> None:
        """Record the time of each record in ``times``: ``clock`` returns the simulated time of a CPU (ns)."""
        self._write_out()
        self._clock = clock

    @property
    def has_clock(self) -> bool:
        """Whether the time of each record is recorded."""
        return self._clock is not None

    def _stamp(self, actor: int) -> None:
        # Give the records that have no time yet the current time.
        assert self._clock is not None
        missing = len(self._records) // RECORD.size - len(self.times)
        self.times.extend([self._clock(actor)] * missing)

    def copy(self) -> Trace:
        """Return a trace with the same records and strings, without a file or instructions."""
        other = Trace(self.case)
        other.strings, other._numbers = list(self.strings), dict(self._numbers)
        other._records, other._lots, other.flow = bytearray(self._records), self._lots.copy(), self.flow
        return other

    def selected(self, flags: bytes) -> tuple[Trace, list[int]]:
        """Return a trace of the records that have a flag, and the number that each has in this one.

        :param flags: of the records of :meth:`columns`
        """
        other = self.sibling(self.case)
        numbers: list[int] = []
        for number, row in self.flagged(flags):
            other._records += RECORD.pack(*row)
            numbers.append(number)
        return other, numbers

    def sibling(self, case: str) -> Trace:
        """Return a trace without records that shares the strings of this one."""
        other = Trace(case)
        other.strings, other._numbers, other.flow = self.strings, self._numbers, self.flow
        return other

    def take(self) -> bytes:
        """Remove every record and return them in the format of a file; strings stay."""
        assert self._sink is None, "a file would miss them"
        taken = self._whole()
        self._records, self._lots = bytearray(), Lots()
        return taken

    def put(self, records: bytes) -> None:
        """Append records that :meth:`take` returned."""
        self._records += records

    def turn(self, cpu: int) -> None:
        """Say that the instructions from now on are those of ``cpu``."""
        assert self.steps is not None
        self._account(0)
        self.steps.running = cpu

    def stopped(self) -> None:
        """Say that the last row of ``steps`` is no instruction, but the state in which its CPU stopped."""
        self._account(1)

    def _account(self, states: int) -> None:
        # A record for the instructions since the last one; the last of them may be a mere state.
        steps = self.steps
        assert steps is not None
        count = steps.account()
        if count > states:
            self._records += RECORD.pack(Kind.INSTRUCTIONS, 0, steps.running, 0, 0, count - states)
        if states and count:
            self._records += RECORD.pack(Kind.INSTRUCTIONS, 1, steps.running, 0, 0, 1)

    def _pack(self) -> None:
        # What the recorder has, as chunks.
        if self.steps is None:
            return
        self._account(0)
        body, pcs = self.steps.pack()
        if not body:
            return
        code = bytearray()
        for pc in sorted(pcs):
            word = self.flow.fetch(pc)
            if word is not None and self._words.get(pc) != word:
                self._words[pc] = word
                code += _CODE.pack(pc, word)
        if code:
            self._bodies.append((4, bytes(code)))
        self._bodies.append((3, body))

    def add_symbols(self, symbols: SymbolTable) -> None:
        """Name the addresses of this trace, so that it can be read without its subject."""
        self.symbols = symbols
        if self._sink:
            head = _SYMBOLS.pack(symbols.va_offset, symbols.start, symbols.end, symbols.linear_offset)
            data = head + zlib.compress(symbols.text)
            self._write(_CHUNK.pack(5, len(data)) + data)

    def values(self) -> set[int]:
        """Return every address and value in the trace: those of registers, and of records."""
        self._pack()
        found = {number for row in self.rows() for number in row[3:]}
        return found.union(*(values(body) for tag, body in self._bodies if tag == 3))

    @property
    def has_instructions(self) -> bool:
        """Whether there is any instruction."""
        self._pack()
        return any(tag == 3 for tag, _ in self._bodies)

    def steps_of(self) -> Iterator[tuple[Record, list[InstructionRow]]]:
        """Yield every record in order, INSTRUCTIONS with its steps; :meth:`word` fits until the next one.

        :raises InvalidSubject: a chunk is damaged
        """
        self._pack()
        waiting: dict[int, list[Iterator[InstructionRow]]] = {}
        bodies = iter(self._bodies)
        words: dict[int, int] = {}
        for record in self:
            steps: list[InstructionRow] = []
            if record.kind is Kind.INSTRUCTIONS:
                while len(steps) < record.value:
                    queue = waiting.setdefault(record.actor, [])
                    if queue:
                        steps += islice(queue[0], record.value - len(steps))
                        if len(steps) < record.value:
                            queue.pop(0)
                        continue
                    tag, body = next(bodies, (0, b""))
                    if tag == 4:
                        words.update(_CODE.iter_unpack(body))
                    elif tag == 3:
                        for cpu, found in unpack(body).items():
                            waiting.setdefault(cpu, []).append(found)
                    else:
                        raise InvalidSubject(f"trace: CPU {record.actor}: fewer instructions than it says")
                self._words = words
            yield record, steps

    def word(self, pc: int) -> int | None:
        """Return the instruction word (u32) at a PC of the trace, or None."""
        return self._words.get(pc)

    def flush(self) -> None:
        """Write what the file does not have yet; a no-op without a file.

        :raises EmuError: the file cannot be written
        """
        self._pack()
        if not self._sink:
            return
        chunks = bytearray()
        for text in self.strings[self._strings_written :]:
            data = text.encode(errors="backslashreplace")
            chunks += _CHUNK.pack(2, len(data)) + data
        for tag, body in self._bodies[self._bodies_written :]:
            chunks += _CHUNK.pack(tag, len(body)) + body
        self._bodies_written = len(self._bodies)
        if self._written < len(self._records):
            data = zlib.compress(memoryview(self._records)[self._written :], 1)
            chunks += _CHUNK.pack(1, len(data)) + data
        self._strings_written, self._written = len(self.strings), len(self._records)
        self._write(bytes(chunks))

    def _write(self, data: bytes) -> None:
        assert self._sink is not None
        try:
            self._sink.write(data)
            self._sink.flush()
        except OSError as error:
            name, self._sink = getattr(self._sink, "name", "trace"), None
            raise EmuError(f"{name}: {error.strerror}") from None


def read_trace(path: Path) -> Trace:
    """Read a trace file; of one that was cut off, the complete chunks.

    :raises InvalidSubject: not a trace, of another version, cut off in its header, or damaged
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSubject(f"{path}: {error.strerror}") from None
    if data[:8] != MAGIC:
        raise InvalidSubject(f"{path}: {data[:8]!r}: a trace begins with {MAGIC!r}")
    if len(data) < _HEADER_SIZE:
        raise InvalidSubject(f"{path}: {len(data)} bytes: cut off in its header")
    version, length = struct.unpack_from("<HI", data, 8)
    if version not in (VERSION, VERSION_INSTRUCTIONS):
        raise InvalidSubject(f"{path}: version {version}: this emu reads versions 1 and 2")
    at = _HEADER_SIZE + length
    if at > len(data):
        raise InvalidSubject(f"{path}: {len(data)} bytes: cut off in its case text of {length}")
    trace = Trace(data[_HEADER_SIZE:at].decode(errors="replace"))
    while at + _CHUNK.size <= len(data):
        tag, size = _CHUNK.unpack_from(data, at)
        chunk = data[at + _CHUNK.size : at + _CHUNK.size + size]
        if len(chunk) < size:
            break
        if tag == 2:
            text = chunk.decode(errors="replace")
            trace._numbers.setdefault(text, len(trace.strings))
            trace.strings.append(text)
        else:
            try:
                _use(trace, tag, chunk)
            except (ValueError, zlib.error) as error:
                raise InvalidSubject(f"{path}: chunk at {at:#x}: {error}") from None
        at += _CHUNK.size + size
    trace.is_cut = at < len(data)
    return trace


def _use(trace: Trace, tag: int, chunk: bytes) -> None:
    # Put a chunk that is no string into the trace; ValueError says what is wrong with it.
    if tag == 1:
        trace._records += _unpack(chunk, len(trace.strings))
    elif tag == 3 or (tag == 4 and not len(chunk) % _CODE.size):
        if tag == 3:
            unpack(chunk)
        trace._bodies.append((tag, chunk))
    elif tag == 5 and len(chunk) > _SYMBOLS.size:
        stream = zlib.decompressobj()
        text = stream.decompress(chunk[_SYMBOLS.size :], _RECORDS_BYTES_MAX)
        if not stream.eof:
            raise ValueError("symbols that do not end")
        offset, start, end, linear = _SYMBOLS.unpack_from(chunk)
        trace.symbols = SymbolTable(offset, start, end, linear, text)
    else:
        raise ValueError(f"tag {tag} of {len(chunk)} bytes: none that this emu knows")


def _unpack(chunk: bytes, strings: int) -> bytes:
    # The records of a chunk, each one fit to be used; ValueError says what is wrong.
    stream = zlib.decompressobj()
    records = stream.decompress(chunk, _RECORDS_BYTES_MAX)
    if not stream.eof or stream.unused_data or len(records) % RECORD.size:
        raise ValueError(f"{len(records)} bytes: not whole records of {RECORD.size}")
    for kind, size, _actor, _pc, pa, value in RECORD.iter_unpack(records):
        if kind not in _KINDS:
            raise ValueError(f"kind {kind}: this emu does not know it")
        if kind in _WITH_STRING and value >= strings:
            raise ValueError(f"string {value} of {strings}: it stands before the first record that uses it")
        if kind == Kind.REGISTER and pa not in _REGISTERS:
            raise ValueError(f"REGISTER of {pa}: not one of them")
        if kind in _OF_SIZE and size not in _OF_SIZE[Kind(kind)]:
            raise ValueError(f"{Kind(kind).name} of {size}: not one of them")
    return records
