"""What the guest does that hardware punishes and the engine lets pass, once for each CPU and place."""

from __future__ import annotations

from emu.constraints import CONSTRAINTS
from emu.finding import PA, PC, Finding, Value
from emu.operation import Kind
from emu.trace import Trace

NAME = "misuse"
_SAYS = "CPU{{cpu}} at {{pc}}: {words}{place} ({source})"
WORDS = {
    **{
        name: _SAYS.format(
            words=constraint.words,
            place="" if constraint.nowhere else ", level {level}" if constraint.of_level else ", {pa}",
            source=constraint.source,
        )
        for name, constraint in CONSTRAINTS.items()
    },
    "other": "CPU{cpu} at {pc}: {text}, {pa}",
}
_KINDS = frozenset({Kind.MISUSE})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each constraint, CPU and place."""
    found: dict[tuple[int, int, int, str], Finding] = {}
    for boot, rows in enumerate(trace.numbered_boots(_KINDS)):
        for number, (_kind, _size, cpu, pc, pa, value) in rows:
            name = trace.strings[value]
            if (boot, cpu, pc, name) in found:
                continue
            what = name if name in CONSTRAINTS else "other"
            data: dict[str, Value] = {"cpu": cpu, "pc": PC(pc)}
            if what != "other" and CONSTRAINTS[what].of_level:
                data["level"] = pa
            elif what == "other" or not CONSTRAINTS[what].nowhere:
                data["pa"] = PA(pa)
            if what == "other":
                data["text"] = name
            found[boot, cpu, pc, name] = Finding.of(NAME, what, (cpu,), data, (number,), boot)
    return list(found.values())
