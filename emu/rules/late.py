"""Late starts: a CPU that is in C although the boot CPU has given up on it, and has cleared its data.

Whether it came before or after the line in the log is chance; that it is alive and nobody knows is not.
"""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Kind, Report
from emu.outcome import End
from emu.trace import Trace

NAME = "late"
WORDS = {
    "given-up": "CPU{cpu} came to secondary_start_kernel, and the boot CPU has given up on it: {line!r} "
    "(it ends '{outcome}')"
}
FIX = {"given-up": "keep the CPU's data until it is known to be off, or stop it when it comes"}
_GAVE_UP = (Report.NOT_ALIVE, Report.NOT_ONLINE)
_ALIVE = (End.IN_HOST_TASK, End.ONLINE)
_KINDS = frozenset({Kind.REPORT, Kind.POWER_OFF, Kind.LAND, Kind.OUTCOME})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that is alive in C although the log has said that it failed."""
    found: list[Finding] = []
    for boot, rows in enumerate(trace.numbered_boots(_KINDS)):
        given_up: dict[int, tuple[int, str]] = {}  # number of the record, and the line
        landed: dict[int, int] = {}  # number of the record
        for number, (kind, size, cpu, _pc, pa, value) in rows:
            if kind == Kind.REPORT and size in _GAVE_UP:
                given_up[cpu] = (number, trace.strings[value])
            elif kind == Kind.POWER_OFF:
                given_up.pop(cpu, None)
                landed.pop(cpu, None)
            elif kind == Kind.LAND:
                landed[cpu] = number
            elif kind == Kind.OUTCOME and size in _ALIVE and cpu in given_up and cpu in landed:
                reported, line = given_up[cpu]
                found.append(
                    Finding.of(
                        NAME,
                        "given-up",
                        (cpu,),
                        {"cpu": cpu, "line": line, "outcome": trace.outcome(size, value, pa)},
                        (reported, landed[cpu], number),
                        boot,
                    )
                )
    return found
