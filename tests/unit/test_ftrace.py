"""The ftrace text: every line is of the form that the kernel and trace-cmd print, and marks nest."""

from __future__ import annotations

import re

import pytest

from emu.case import Case
from emu.host.build import build
from emu.host.tracing import record_instructions, symbol_table
from emu.report.ftrace import ftrace_text
from emu.report.timeline import Timeline, timeline

# kernel/trace/trace_output.c: trace_print_context() and trace_print_lat_fmt().
_CONTEXT = re.compile(
    r"(?P<comm>.{16})-(?P<pid>\d+) +\[(?P<cpu>\d{3,})\] (?P<flags>[dDbX.][NnpBbL.][ZzHhs.][0-9a-f.][0-9a-f.])"
    r" +(?P<seconds>\d+)\.(?P<fraction>\d{6}|\d{9}): (?P<event>\w+): (?P<text>.*)"
)
# src/trace_processor/importers/systrace/systrace_line_tokenizer.cc
_PERFETTO = re.compile(r"-(\d+)\s+\(?\s*(\d+|-+)?\)?\s?\[(\d+)\]\s*[a-zA-Z0-9.]{0,5}\s+(\d+\.\d+):\s+(\S+):")
_MARK = re.compile(r"B\|\d+\|[^|]+|E\|\d+|I\|\d+\|[^|]+")
CASES = [
    Case("v3", topology="flat:4"),
    Case("mainline", topology="flat:4", enable_method="spin-table"),
    Case("mainline", topology="flat:3", firmware="acpi", enable_method="parking-protocol", el=2),
    Case("rfc", topology="flat:3", grain="operation", scheduler="random:4"),
    Case("v3", topology="flat:3", fault="1:no-granule,2:never-starts"),
]


def timeline_of(case: Case, *, instructions: bool = False) -> Timeline:
    boot = build(case, record=True)
    if instructions:
        record_instructions(boot)
    boot.machine.record_times()
    boot.machine.run()
    boot.machine.finish()
    return timeline(boot.machine.trace, symbol_table(boot.guest), len(boot.machine.actors))


def parse(text: str) -> list[dict[str, str]]:
    """Read strictly: a header of comments with the counts, then lines in order of time."""
    head = [line for line in text.splitlines() if line.startswith("#")]
    lines = text.splitlines()[len(head) :]
    assert head[0] == "# tracer: nop"
    counts = re.search(r"^# entries-in-buffer/entries-written: (\d+)/(\d+)   #P:(\d+)$", text, re.M)
    assert counts
    assert int(counts[1]) == int(counts[2]) == len(lines)
    rows = []
    for line in lines:
        found = _CONTEXT.fullmatch(line)
        assert found, line
        context = _PERFETTO.search(line)
        assert context, line
        assert context[5] == found["event"], line
        rows.append(found.groupdict())
        assert int(found["cpu"]) < int(counts[3])
    times = [(int(row["seconds"]), int(row["fraction"])) for row in rows]
    assert times == sorted(times)
    return rows


@pytest.mark.parametrize("case", CASES, ids=Case.text)
def test_the_text_is_what_ftrace_prints(case: Case) -> None:
    rows = parse("".join(ftrace_text(timeline_of(case))))
    open_marks: dict[str, list[str]] = {}
    for row in rows:
        assert row["event"] == "tracing_mark_write"
        assert _MARK.fullmatch(row["text"]), row["text"]
        kind, pid, *rest = row["text"].split("|", 2)
        assert pid == row["pid"] == str(int(row["cpu"]) + 1)
        assert row["comm"].strip() == f"CPU{row['cpu'].lstrip('0') or '0'}"
        if kind == "B":
            open_marks.setdefault(pid, []).append(rest[0])
            assert len(open_marks[pid]) <= 2, "phases follow each other, and functions within them"
        elif kind == "E":
            open_marks[pid].pop()
    assert not any(open_marks.values())


def test_a_phase_has_what_happens_in_it() -> None:
    rows = parse("".join(ftrace_text(timeline_of(CASES[0]))))
    mine = [row["text"] for row in rows if row["cpu"] == "002"]
    assert phases_of(mine) == [
        "early boot, MMU off",
        "MMU on",
        "secondary_start_kernel",
        "waits for the boot CPU",
        "atomic step",
        "waits for the boot CPU",
        "online callbacks",
        "idle",
    ]
    on = next(number for number, text in enumerate(mine) if "B|3|MMU on" in text)
    assert any("secondary_entry: power on" in text for text in mine[:on])
    assert any("secondary_start_kernel: land" in text for text in mine[on:])


def phases_of(marks: list[str]) -> list[str]:
    """The outer ones of marks that nest."""
    found, depth = [], 0
    for text in marks:
        if text.startswith("B") and not depth:
            found.append(text.split("|")[2])
        depth += text.startswith("B") - text.startswith("E")
    return found


def test_interrupts_are_off_until_the_kernels_c_side() -> None:
    rows = parse("".join(ftrace_text(timeline_of(CASES[0]))))
    flags = {row["flags"][0] for row in rows if row["text"].startswith("B|3|early")}
    assert flags == {"d"}
