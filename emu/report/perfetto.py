"""A run for ui.perfetto.dev and chrome://tracing: the JSON of the Trace Event Format, a track per CPU.

Times are microseconds of simulated time. Phases, and functions within them, are complete events, what happens
at a moment are instants, and arrows lead from a kick to the start it causes, and from SEV to who wakes.

:source: "Trace Event Format", Chromium
"""

from __future__ import annotations

from typing import Any

from emu.operation import Kind
from emu.report.timeline import Timeline, is_memory

_PID = 1
_QUIET = frozenset({Kind.BARRIER, Kind.CACHE, Kind.MAPPED, Kind.TLB, Kind.RETURN, Kind.DELAY, Kind.OUTCOME})


def perfetto_json(found: Timeline, title: str, hwids: list[int]) -> dict[str, Any]:
    """Return the object to write; ``hwids`` name the tracks, by logical CPU."""
    events: list[dict[str, Any]] = [_name("process_name", title, 0)]
    for cpu, hwid in enumerate(hwids):
        events.append(_name("thread_name", f"CPU{cpu} {hwid:#x}", cpu))
        events.append(_event("M", "thread_sort_index", cpu) | {"args": {"sort_index": cpu}})
    for phase in found.phases:
        complete = _event("X", phase.name, phase.cpu, phase.start) | {"dur": (phase.end - phase.start) / 1000}
        events.append(complete | {"cat": "phase"})
    for function in found.functions:
        complete = _event("X", function.name, function.cpu, function.start)
        length = (function.end - function.start) / 1000
        events.append(complete | {"dur": length, "cat": "function"})
    for mark in found.marks:
        if is_memory(mark) or mark.kind in _QUIET:
            continue
        instant = _event("i", mark.text, mark.cpu, mark.ns) | {"s": "t", "cat": mark.kind.name.lower()}
        events.append(instant | ({"args": {"at": mark.place}} if mark.place else {}))
    for number, flow in enumerate(found.flows):
        arrow = {"cat": "flow", "id": number}
        events.append(_event("s", flow.name, flow.from_cpu, flow.from_ns) | arrow)
        events.append(_event("f", flow.name, flow.to_cpu, flow.to_ns) | arrow | {"bp": "e"})
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _event(ph: str, name: str, cpu: int, ns: int | None = None) -> dict[str, Any]:
    # Thread IDs are 1 and up: 0 is taken for none.
    event: dict[str, Any] = {"ph": ph, "name": name, "pid": _PID, "tid": cpu + 1}
    return event if ns is None else event | {"ts": ns / 1000}


def _name(what: str, name: str, cpu: int) -> dict[str, Any]:
    return _event("M", what, cpu) | {"args": {"name": name}}
