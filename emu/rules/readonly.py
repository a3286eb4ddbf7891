"""Stores to data that is read-only once the kernel is up: the store faults where it is written."""

from __future__ import annotations

import re

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "readonly"
_FAULT = re.compile(r"Unable to handle kernel write to read-only memory at virtual address ([0-9a-f]+)$")


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each address that somebody has tried to store to."""
    found: dict[str, Finding] = {}
    for kind, _size, cpu, _pc, _pa, value in trace.rows():
        if kind == Kind.LOG and (match := _FAULT.match(trace.strings[value])):
            message = f"CPU{cpu} stores to 0x{match[1]}, which is read-only after init"
            found.setdefault(message, Finding(NAME, message, (cpu,), case))
    return list(found.values())
