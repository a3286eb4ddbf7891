"""Late starts: a CPU that is in C although the boot CPU has given up on it, and has cleared its data.

Whether it came before or after the line in the log is chance; that it is alive and nobody knows is not.
"""

from __future__ import annotations

import re

from emu.finding import Finding
from emu.operation import Kind
from emu.outcome import End, outcome_words
from emu.trace import Trace

NAME = "late"
_GAVE_UP = re.compile(r"CPU(\d+):? (?:failed to report alive state|failed to come online)$")
_ALIVE = (End.IN_HOST_TASK, End.ONLINE)


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that is alive in C although the log has said that it failed."""
    found: list[Finding] = []
    for rows in trace.boots():
        given_up: dict[int, str] = {}
        landed: set[int] = set()
        for kind, size, cpu, _pc, pa, value in rows:
            if kind == Kind.LOG and (match := _GAVE_UP.match(trace.strings[value])):
                given_up[int(match[1])] = trace.strings[value]
            elif kind == Kind.POWER_OFF:
                given_up.pop(cpu, None)
                landed.discard(cpu)
            elif kind == Kind.LAND:
                landed.add(cpu)
            elif kind == Kind.OUTCOME and cpu in given_up and cpu in landed:
                outcome = trace.outcome(size, value, pa)
                if outcome.end in _ALIVE:
                    message = (
                        f"CPU{cpu} came to secondary_start_kernel, and the boot CPU has given up on it: "
                    )
                    message += f"{given_up[cpu]!r} (it ends {outcome_words(outcome)!r})"
                    found.append(Finding(NAME, message, (cpu,), case))
    return found
