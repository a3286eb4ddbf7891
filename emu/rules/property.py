"""Properties of a user that do not hold: on a machine that was watched, or in a state of an exploration."""

from __future__ import annotations

from emu.finding import PC, Finding, Value, each_once
from emu.operation import Kind
from emu.trace import Trace

NAME = "property"
SEES = "properties"
MARKS = frozenset({Kind.PROPERTY})
WORDS = {
    "finally": "does not hold at the end: {text}",
    "at": "does not hold when CPU{cpu} comes to {pc}: {text}",
    "never": "has come true: {text}",
    "unreachable": "CPU{cpu} comes to {pc}: {text}",
    "eventually": "does not come true: {text}",
}
_PLACED = ("at", "unreachable")
_KINDS = frozenset({Kind.PROPERTY})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each property, and of those about a label for each CPU."""
    found = []
    for number, (_kind, _size, cpu, pc, _pa, value) in trace.numbered(_KINDS):
        text = trace.strings[value]
        what = text.split()[0]
        data: dict[str, Value] = {"text": text}
        if what in _PLACED:
            data |= {"cpu": cpu, "pc": PC(pc)}
        cpus = (cpu,) if what in _PLACED else ()
        found.append(Finding.of(NAME, what, cpus, data, (number,)))
    return each_once(found)
