"""Late starts: a CPU that comes to C after the boot CPU has given up on it and cleared its data."""

from __future__ import annotations

import re

from emu.operation import Kind
from emu.trace import Trace
from emu.verdict import Finding

NAME = "late"
_GAVE_UP = re.compile(r"CPU(\d+):? (?:failed to report alive state|failed to come online)$")


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that lands although the log has said that it failed."""
    found: list[Finding] = []
    for rows in trace.boots():
        given_up: dict[int, str] = {}
        for kind, _size, cpu, _pc, _pa, value in rows:
            if kind == Kind.LOG and (match := _GAVE_UP.match(trace.strings[value])):
                given_up[int(match[1])] = trace.strings[value]
            elif kind in (Kind.POWER_OFF, Kind.POWER_ON, Kind.REENTRY):
                given_up.pop(cpu, None)
            elif kind == Kind.LAND and cpu in given_up:
                message = f"CPU{cpu} came to secondary_start_kernel after {given_up.pop(cpu)!r}"
                found.append(Finding(NAME, message, (cpu,), case))
    return found
