"""A run as text in the form of /sys/kernel/tracing/trace, which trace-cmd report prints too.

A line is ``%16s-%-7d [%03d] %5s %5lu.%09lu: event: text``: task and PID, CPU, flags, simulated seconds
(kernel/trace, trace_print_context(); nanoseconds as ``trace-cmd report -t`` has them). A CPU is the task
CPU<n> with PID n + 1. Phases are the marks ``B|pid|name`` and ``E|pid`` that atrace writes, everything else
is ``I|pid|text``; Perfetto reads both.
"""

from __future__ import annotations

from collections.abc import Iterator

from emu.report.timeline import EARLY, FIRMWARE, MMU_ON, Timeline

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


def ftrace_text(found: Timeline) -> Iterator[str]:
    """Yield the text, header first, each piece with its line end."""
    rows: list[tuple[int, int, int, str]] = []  # ns, order, CPU, text
    for phase in found.phases:
        pid = phase.cpu + 1
        if phase.end > phase.start:
            flags = _MASKED if phase.name in _WITHOUT_INTERRUPTS else _NOTHING
            rows.append((phase.start, 1, phase.cpu, f"{flags}B|{pid}|{phase.name}"))
            rows.append((phase.end, 0, phase.cpu, f"E|{pid}"))
    for mark in found.marks:
        text = f"{mark.place}: {mark.text}" if mark.place and mark.place != "-" else mark.text
        rows.append((mark.ns, 2, mark.cpu, f"I|{mark.cpu + 1}|{_plain(text)}"))
    rows.sort(key=lambda row: row[:2])
    yield _HEADER.format(count=len(rows), cpus=found.cpus)
    flags_of: dict[int, str] = {}
    for ns, order, cpu, text in rows:
        if order == 1:
            flags_of[cpu], text = text[: len(_NOTHING)], text[len(_NOTHING) :]
        seconds, rest = divmod(ns, 1_000_000_000)
        yield (
            f"{f'CPU{cpu}':>16}-{cpu + 1:<7} [{cpu:03d}] {flags_of.get(cpu, _NOTHING)} "
            f"{seconds:5d}.{rest:09d}: tracing_mark_write: {text}\n"
        )


def _plain(text: str) -> str:
    # One line of printable ASCII without the separator.
    return "".join(c if " " <= c <= "~" and c != "|" else "?" for c in text)
