"""Stores to data that is read-only once the kernel is up: the store faults where it is written."""

from __future__ import annotations

from emu.finding import VA, Finding, each_once
from emu.operation import Kind, Report
from emu.trace import Trace

NAME = "readonly"
WORDS = {"store": "CPU{cpu} stores to {va}, which is read-only after init"}
_KINDS = frozenset({Kind.REPORT})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each address that a CPU has tried to store to."""
    return each_once(
        Finding.of(NAME, "store", (cpu,), {"cpu": cpu, "va": VA(pa)}, (number,))
        for number, (_kind, size, cpu, _pc, pa, _value) in trace.numbered(_KINDS)
        if size == Report.READ_ONLY
    )
