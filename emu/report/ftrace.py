"""A run as ftrace has it: text in the form of /sys/kernel/tracing/trace, which trace-cmd report prints too.

A line is ``%16s-%-7d [%03d] %5s %5lu.%09lu: event: text``: task and PID, CPU, flags, simulated seconds
(kernel/trace, trace_print_context(); nanoseconds as ``trace-cmd report -t`` has them). A CPU is the task
CPU<n> with PID n + 1. Phases, and functions within them, are the marks ``B|pid|name`` and ``E|pid`` that
atrace writes, everything else is ``I|pid|text``; Perfetto reads both. What trace-cmd and KernelShark read is
in :mod:`emu.report.trace_dat`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from emu.report.timeline import EARLY, FIRMWARE, MMU_ON, Timeline

MARK = "tracing_mark_write"
_HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {count}/{count}   #P:{cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""
_MASKED, _NOTHING = "d....", "....."  # interrupts are off, or nothing is known
_WITHOUT_INTERRUPTS = (FIRMWARE, EARLY, MMU_ON)
# What comes first of what has one time: what was done by then, ends from the inside, begins from the outside.
_DONE, _FUNCTION_ENDS, _PHASE_ENDS, _PHASE_BEGINS, _FUNCTION_BEGINS = range(5)


class Written(NamedTuple):
    """A mark that ``cpu`` has written at ``ns``, and whether its interrupts are known to be off."""

    ns: int
    cpu: int
    masked: bool
    text: str


def task_of(cpu: int) -> tuple[str, int]:
    """Return name and PID of the task that a CPU is shown as."""
    return f"CPU{cpu}", cpu + 1


def marks_of(found: Timeline) -> list[Written]:
    """Return all marks of a timeline in order of time; those of one CPU nest."""
    rows: list[tuple[int, int, int, str]] = []  # ns, order, CPU, text
    masked = {(each.cpu, each.start) for each in found.phases if each.name in _WITHOUT_INTERRUPTS}
    for slices, begins, ends in (
        (found.phases, _PHASE_BEGINS, _PHASE_ENDS),
        (found.functions, _FUNCTION_BEGINS, _FUNCTION_ENDS),
    ):
        for each in slices:
            pid = task_of(each.cpu)[1]
            rows.append((each.start, begins, each.cpu, f"B|{pid}|{_plain(each.name)}"))
            rows.append((each.end, ends, each.cpu, f"E|{pid}"))
    for mark in found.marks:
        text = f"{mark.place}: {mark.text}" if mark.place and mark.place != "-" else mark.text
        rows.append((mark.ns, _DONE, mark.cpu, f"I|{task_of(mark.cpu)[1]}|{_plain(text)}"))
    rows.sort(key=lambda row: row[:2])
    now: dict[int, bool] = {}
    written: list[Written] = []
    for ns, order, cpu, text in rows:
        if order == _PHASE_BEGINS:
            now[cpu] = (cpu, ns) in masked
        written.append(Written(ns, cpu, now.get(cpu, False), text))
    return written


def ftrace_text(found: Timeline) -> Iterator[str]:
    """Yield the text, header first, each piece with its line end."""
    written = marks_of(found)
    yield _HEADER.format(count=len(written), cpus=found.cpus)
    for ns, cpu, masked, text in written:
        seconds, rest = divmod(ns, 1_000_000_000)
        task, pid = task_of(cpu)
        yield (
            f"{task:>16}-{pid:<7} [{cpu:03d}] {_MASKED if masked else _NOTHING} "
            f"{seconds:5d}.{rest:09d}: {MARK}: {text}\n"
        )


def _plain(text: str) -> str:
    # One line of printable ASCII without the separator.
    return "".join(c if " " <= c <= "~" and c != "|" else "?" for c in text)
