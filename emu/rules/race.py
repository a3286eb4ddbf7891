"""Data races: two CPUs about to access the same bytes, one of them to store, one of them plainly.

"Plainly" as the kernel's memory model and KCSAN have it: C code without READ_ONCE(), WRITE_ONCE() or an
atomic, which the compiler may tear, fuse or repeat. An exploration notes the two where neither has to wait
for the other. Source: Linux v6.12 tools/memory-model/Documentation/access-marking.txt.
"""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "race"
SEES = "states"


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each pair of places that race."""
    rows = [row for row in trace.rows() if row[0] == Kind.RACE]
    found: dict[str, Finding] = {}
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        message = f"data race at PA {first[4]:#x}: {_side(trace, first)} and {_side(trace, second)}"
        found.setdefault(message, Finding(NAME, message, (first[2], second[2]), case))
    return list(found.values())


def _side(trace: Trace, row: tuple[int, int, int, int, int, int]) -> str:
    _, size, cpu, pc, _pa, value = row
    where = trace.where(pc)
    what = f"write of {value:#x}" if size & 0x80 else f"read of {value:#x}"
    return f"{what}, {size & 0x7F} bytes, by CPU{cpu} at {where}"
