"""Trace files: what is written is read back, what was cut off is readable, what is damaged is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.errors import EmuError, InvalidSubject
from emu.operation import Expect, Kind, Record, Register
from emu.outcome import End, Outcome
from emu.report.words import outcome_words
from emu.trace import HOST_PC, MAGIC, VERSION, Trace, read_trace

U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(max_size=20)
WITH_STRING = (
    Kind.MISUSE,
    Kind.UNSUPPORTED,
    Kind.LOG,
    Kind.OUTCOME,
    Kind.REPORT,
    Kind.NEXT_BOOT,
    Kind.PROPERTY,
)
PLAIN = st.sampled_from([kind for kind in Kind if kind not in (*WITH_STRING, Kind.REGISTER, Kind.EXPECT)])
ROWS = st.one_of(
    st.tuples(PLAIN, st.integers(0, 65535), st.integers(0, 255), U64, U64, U64),
    st.tuples(st.sampled_from(WITH_STRING), st.integers(0, 65535), st.just(0), U64, U64, TEXT),
    st.tuples(st.just(Kind.REGISTER), st.just(3), st.just(8), U64, st.sampled_from(list(Register)), U64),
    st.tuples(st.just(Kind.EXPECT), st.just(3), st.sampled_from(list(Expect)), U64, U64, U64),
)


def fill(trace: Trace, rows: list[tuple[object, ...]]) -> list[Record]:
    """Add rows; a text in place of the value is put among the strings. Return the records."""
    found = []
    for kind, actor, size, pc, pa, value in rows:
        number = trace.string(value) if isinstance(value, str) else value
        trace.add(kind, actor, size, pc, pa, number)  # type: ignore[arg-type]
        found.append(Record(kind, actor, size, pc, pa, number))  # type: ignore[arg-type]
    return found


def small() -> tuple[bytes, list[int]]:
    """Return a file of five chunks of records, and the number of bytes at which each is whole."""
    sink = io.BytesIO()
    trace = Trace("v3 topology=flat:2")
    trace.attach(sink)
    ends = []
    for number in range(5):
        fill(trace, [(Kind.LOG, 0, 0, 0, number, f"line {number}"), (Kind.LOAD, 1, 8, 4096, 8192, number)])
        trace.flush()
        ends.append(len(sink.getvalue()))
    return sink.getvalue(), ends


def read(data: bytes, folder: Path) -> Trace:
    path = folder / "t.trace"
    path.write_bytes(data)
    return read_trace(path)


def check_readable(trace: Trace) -> None:
    """Use everything that a reader of a trace uses."""
    for record in trace:
        if record.kind in WITH_STRING:
            assert isinstance(trace.text_of(record), str)
        trace.location(record.pc)
    assert len(list(trace.rows())) == len(trace)


@settings(deadline=None)
@given(case=TEXT, rows=st.lists(ROWS, max_size=30), cuts=st.sets(st.integers(0, 30)))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, case: str, rows: list[object], cuts: set[int]
) -> None:
    """Records, strings and case, wherever it was flushed in between."""
    folder = tmp_path_factory.mktemp("trace")
    path = folder / "t.trace"
    trace = Trace(case)
    with path.open("wb") as sink:
        trace.attach(sink)
        written = []
        for index, row in enumerate(rows):
            written += fill(trace, [row])  # type: ignore[list-item]
            if index in cuts:
                trace.flush()
        trace.flush()
    again = read_trace(path)
    assert list(again) == list(trace) == written
    assert again.case == case.encode(errors="backslashreplace").decode()
    assert again.strings == [text.encode(errors="backslashreplace").decode() for text in trace.strings]
    check_readable(again)


def test_what_was_before_the_file_is_written_too(tmp_path: Path) -> None:
    """attach() may come after the first records."""
    trace = Trace("case")
    fill(trace, [(Kind.LOG, 0, 0, 0, 0, "early"), (Kind.LOAD, 0, 8, 4, 8, 1)])
    sink = io.BytesIO()
    trace.attach(sink)
    again = read(sink.getvalue(), tmp_path)
    assert list(again) == list(trace)


def test_it_is_written_as_it_comes(tmp_path: Path) -> None:
    """Without a flush a file lacks at most one chunk."""
    sink = io.BytesIO()
    trace = Trace("case")
    trace.attach(sink)
    for number in range(100_000):
        trace.add(Kind.LOAD, 0, 8, 4, 8, number)
    assert len(read(sink.getvalue(), tmp_path)) >= 100_000 - (1 << 15)


def test_a_file_that_is_cut_off_at_any_byte(tmp_path: Path) -> None:
    """In the header it is refused; behind, every chunk that is whole is there."""
    data, ends = small()
    header = len(MAGIC) + 6 + len("v3 topology=flat:2")
    for length in range(len(data) + 1):
        if length < header:
            with pytest.raises(InvalidSubject, match=r"begins with|cut off"):
                read(data[:length], tmp_path)
            continue
        trace = read(data[:length], tmp_path)
        assert len(trace) == 2 * sum(end <= length for end in ends)
        assert trace.case == "v3 topology=flat:2"
        check_readable(trace)


DATA, _ = small()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_refused_or_readable(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """Never a traceback, whichever bytes were changed."""
    data = bytearray(DATA)
    for at, value in changes:
        data[at] = value
    try:
        trace = read(bytes(data), tmp_path_factory.getbasetemp())
    except InvalidSubject:
        return
    check_readable(trace)


def test_any_single_damaged_byte(tmp_path: Path) -> None:
    """Each byte in turn, with each bit of it flipped."""
    for at in range(len(DATA)):
        for bit in range(8):
            data = bytearray(DATA)
            data[at] ^= 1 << bit
            try:
                check_readable(read(bytes(data), tmp_path))
            except InvalidSubject:
                continue


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_readable(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    """With and without a good header."""
    folder = tmp_path_factory.getbasetemp()
    for data in (tail, MAGIC + tail, MAGIC + struct.pack("<HI", VERSION, 0) + tail):
        try:
            check_readable(read(data, folder))
        except InvalidSubject:
            continue


def chunk(*records: tuple[int, int, int, int, int, int]) -> bytes:
    packed = zlib.compress(b"".join(struct.pack("<BBHQQQ", *record) for record in records))
    return struct.pack("<BI", 1, len(packed)) + packed


HEADER = MAGIC + struct.pack("<HI", VERSION, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with"),
        (b"EMUTRACE", "cut off in its header"),
        (b"ELF" * 10, "begins with"),
        (MAGIC + struct.pack("<HI", 3, 0), "version 3: this emu reads versions 1 and 2"),
        (MAGIC + struct.pack("<HI", VERSION, 5) + b"abc", "cut off in its case text"),
        (HEADER + b"\x06\0\0\0\0", "tag 6"),
        (HEADER + b"\x03\x01\0\0\0\0", "cut off in its head"),
        (HEADER + b"\x03\x02\0\0\0\x01\0", "cut off in its 1 groups"),
        (HEADER + b"\x03\x08\0\0\0\x01\0\0\0\x01\0\0\0", "0 bytes: 1 rows have 266"),
        (HEADER + b"\x03\x08\0\0\0\x01\0\0\0\xff\xff\xff\xff", "rows: too many"),
        (HEADER + b"\x04\x05\0\0\0abcde", "tag 4 of 5 bytes"),
        (HEADER + b"\x05\x05\0\0\0abcde", "tag 5 of 5 bytes"),
        (HEADER + b"\x01\x04\0\0\0abcd", "chunk at 0xe"),
        (
            HEADER + struct.pack("<BI", 1, len(zlib.compress(bytes(27)))) + zlib.compress(bytes(27)),
            "not whole",
        ),
        (HEADER + struct.pack("<BI", 1, 8) + zlib.compress(bytes(28))[:8], "not whole"),
        (HEADER + chunk((0, 0, 0, 0, 0, 0)), "kind 0"),
        (HEADER + chunk((200, 0, 0, 0, 0, 0)), "kind 200"),
        (HEADER + chunk((Kind.LOG, 0, 0, 0, 0, 0)), "string 0 of 0"),
        (HEADER + b"\x02\x01\0\0\0a" + chunk((Kind.OUTCOME, 0, 0, 0, 0, 1)), "string 1 of 1"),
        (HEADER + chunk((Kind.LOG, 0, 0, 0, 0, 0)) + b"\x02\x01\0\0\0a", "string 0 of 0"),
        (HEADER + chunk((Kind.REGISTER, 8, 0, 0, 99, 0)), "REGISTER of 99"),
        (HEADER + chunk((Kind.EXPECT, 99, 0, 0, 0, 0)), "EXPECT of 99"),
        (HEADER + b"\x02\x01\0\0\0a" + chunk((Kind.OUTCOME, 99, 0, 0, 0, 0)), "OUTCOME of 99"),
    ],
)
def test_what_is_refused_and_why(data: bytes, message: str, tmp_path: Path) -> None:
    """One line with the file and the rule."""
    with pytest.raises(InvalidSubject, match=message) as caught:
        read(data, tmp_path)
    assert str(tmp_path / "t.trace") in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(InvalidSubject, match="No such file"):
        read_trace(tmp_path / "none")


def test_strings_that_read_alike_keep_their_numbers(tmp_path: Path) -> None:
    """Two strings of bytes that are no UTF-8 become the same text, but not the same number."""
    strings = b"\x02\x01\0\0\0\xff" + b"\x02\x01\0\0\0\xfe" + b"\x02\x01\0\0\0a"
    trace = read(HEADER + strings + chunk((Kind.LOG, 0, 0, 0, 0, 2)), tmp_path)
    assert [trace.text_of(record) for record in trace] == ["a"]


def test_a_file_name_that_is_no_utf_8_does_not_stop_a_recording(tmp_path: Path) -> None:
    """Paths may hold any byte; Python gives them as lone surrogates."""
    trace = Trace("caf\udce9/Image")
    sink = io.BytesIO()
    trace.attach(sink)
    trace.string("\udce9")
    trace.flush()
    assert read(sink.getvalue(), tmp_path).case == "caf\\udce9/Image"


def test_location_is_that_of_host_operations_alone() -> None:
    """A guest's PC is none, nor is one beyond the strings."""
    trace = Trace("case")
    number = trace.string("emu/host/smp.py:7")
    assert trace.location(HOST_PC + number) == "emu/host/smp.py:7"
    for pc in (0, 0x4020_0000, 0xFFFF_8000_8000_0000, HOST_PC - 1, HOST_PC + 1, HOST_PC + 2**33, 2**64 - 1):
        assert trace.location(pc) is None


def test_a_full_disk_is_bad_input_not_a_traceback() -> None:
    """One error; what is recorded stays in memory."""

    class Full(io.BytesIO):
        name = "out.trace"

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    trace = Trace("case")
    with pytest.raises(EmuError, match="out.trace: No space left on device"):
        trace.attach(Full())
    trace.add(Kind.LOAD, 0, 8, 0, 0, 0)
    trace.flush()
    assert len(trace) == 1


def test_the_outcome_of_an_older_trace_is_its_words(tmp_path: Path) -> None:
    """There the record has size 0, and its value numbers what the emu that wrote it said."""
    found = read(HEADER + b"\x02\x03\0\0\0off" + chunk((Kind.OUTCOME, 0, 2, 0, 0, 0)), tmp_path)
    (record,) = found
    outcome = found.outcome(record.size, record.value, record.pa)
    assert (outcome, outcome_words(outcome)) == (Outcome(End.OTHER, "off"), "off")
