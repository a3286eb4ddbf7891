"""trace.dat: what trace-cmd and KernelShark's library read of it is what the ftrace text says."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from ctypes.util import find_library
from pathlib import Path

import pytest
from test_ftrace import CASES, timeline_of

from emu.case import Case
from emu.operation import Kind
from emu.report.ftrace import ftrace_text
from emu.report.timeline import Mark, Timeline
from emu.report.trace_dat import trace_dat

# Task, CPU and whether its interrupts are off, time, text; as trace-cmd report -l has them, and as the text.
_LATENCY = re.compile(r" *(CPU\d+-\d+) +(\d+)(d?)\.+ +(\d+\.\d{9}): print: +tracing_mark_write: (.*)")
_TEXT = re.compile(r" *(CPU\d+-\d+) +\[0*(\d+)\] (d?)\.+ +(\d+\.\d{9}): tracing_mark_write: (.*)")
needs_trace_cmd = pytest.mark.skipif(
    shutil.which("trace-cmd") is None, reason="trace-cmd is not installed (Debian: trace-cmd)"
)
needs_libkshark = pytest.mark.skipif(
    find_library("kshark") is None, reason="libkshark is not installed (Debian: libkshark2)"
)


def lines_of(text: str, form: re.Pattern[str]) -> list[tuple[str, ...]]:
    found = [form.fullmatch(line.rstrip()) for line in text.splitlines()]
    assert all(found), "each line is understood"
    return [match.groups() for match in found if match is not None]


def read_by_trace_cmd(found: Timeline, path: Path) -> list[tuple[str, ...]]:
    path.write_bytes(trace_dat(found))
    done = subprocess.run(["trace-cmd", "report", "-t", "-l", str(path)], capture_output=True, text=True)
    assert not done.stderr
    assert done.returncode == 0
    head, _, rest = done.stdout.partition("\n")
    assert head == f"cpus={found.cpus}"
    return lines_of(rest, _LATENCY)


def told(found: Timeline) -> list[tuple[str, ...]]:
    """What the text says; time 0 is told as 1 ns (KernelShark)."""
    text = "".join(line for line in ftrace_text(found) if not line.startswith("#"))
    return lines_of(text.replace(" 0.000000000: ", " 0.000000001: "), _TEXT)


@needs_trace_cmd
@pytest.mark.parametrize("case", CASES, ids=Case.text)
def test_trace_cmd_reads_what_the_text_says(case: Case, tmp_path: Path) -> None:
    found = timeline_of(case)
    expected = told(found)
    assert len(expected) > 100
    assert sorted(read_by_trace_cmd(found, tmp_path / "a.dat")) == sorted(expected)


@needs_trace_cmd
def test_trace_cmd_shows_the_marks_of_a_cpu_in_their_order(tmp_path: Path) -> None:
    found = timeline_of(CASES[0])
    mine = [line for line in read_by_trace_cmd(found, tmp_path / "a.dat") if line[1] == "1"]
    assert mine == [line for line in told(found) if line[1] == "1"]


@needs_trace_cmd
def test_long_gaps_and_long_texts_and_many_pages_are_read(tmp_path: Path) -> None:
    """A delta has 27 bits in an event and 59 with a time extend; an event does not cross a page."""
    times = [0, 1, (1 << 27) - 1, 1 << 28, (1 << 40) + 5, *range(1 << 41, (1 << 41) + 500)]
    texts = ["x" * 3000, "y" * 3001, *(f"mark {number}" for number in range(2, len(times)))]
    found = Timeline(
        1, marks=[Mark(0, ns, Kind.LOG, "", text) for ns, text in zip(times, texts, strict=True)]
    )
    assert read_by_trace_cmd(found, tmp_path / "a.dat") == told(found)


@needs_trace_cmd
def test_a_cpu_without_marks_has_an_empty_buffer(tmp_path: Path) -> None:
    found = Timeline(3, marks=[Mark(1, 5, Kind.LOG, "", "alone")])
    assert read_by_trace_cmd(found, tmp_path / "a.dat") == told(found)
    assert len(told(found)) == 1


@needs_libkshark
def test_kernelshark_reads_each_mark_in_order_of_time(tmp_path: Path) -> None:
    found = timeline_of(CASES[0])
    path = tmp_path / "a.dat"
    path.write_bytes(trace_dat(found))
    entries = read_by_kernelshark(path)
    assert [entry[0] for entry in entries] == sorted(entry[0] for entry in entries)
    expected = [(int(time.replace(".", "")), task, text) for task, _cpu, _off, time, text in told(found)]
    assert sorted(entries) == sorted(expected)


def read_by_kernelshark(path: Path) -> list[tuple[int, str, str]]:
    """Time in ns, task and text of each entry, in KernelShark's order (libkshark.h)."""
    library, context, rows = ctypes.CDLL(find_library("kshark")), ctypes.c_void_p(), ctypes.c_void_p()
    library.kshark_open.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.kshark_load_entries.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.kshark_load_entries.restype = ctypes.c_ssize_t
    library.kshark_dump_entry.argtypes = [ctypes.c_void_p]
    library.kshark_dump_entry.restype = ctypes.c_void_p
    assert library.kshark_instance(ctypes.byref(context))
    stream = library.kshark_open(context, str(path).encode())
    assert stream >= 0
    count = library.kshark_load_entries(context, stream, ctypes.byref(rows))
    assert count > 0
    entries = ctypes.cast(rows, ctypes.POINTER(ctypes.c_void_p))
    found = []
    for number in range(count):
        text = ctypes.string_at(library.kshark_dump_entry(entries[number])).decode()
        _stream, time, task, _cpu, _flags, event, rest = text.split("; ", 6)
        assert event == "ftrace/print"
        found.append(
            (int(time), task, rest.rpartition("; ")[0].removeprefix("tracing_mark_write: ").rstrip())
        )
    return found
