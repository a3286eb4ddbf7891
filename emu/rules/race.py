"""Data races: two CPUs about to access the same bytes, one of them to store, one of them plainly.

"Plainly" as the kernel's memory model and KCSAN have it: C code without READ_ONCE(), WRITE_ONCE() or an
atomic, which the compiler may tear, fuse or repeat. An exploration notes the two where neither has to wait
for the other. Source: Linux v6.12 tools/memory-model/Documentation/access-marking.txt.
"""

from __future__ import annotations

from emu.finding import PA, Finding, Value, Word, each_once
from emu.operation import Kind
from emu.trace import Row, Trace

NAME = "race"
SEES = "states"
MARKS = frozenset({Kind.RACE})
_STORES = 0x80  # in the size of a RACE record
WORDS = {
    "data-race": "data race at {pa}: {first_access} of {first_value}, {first_bytes} bytes, by CPU{first} at "
    "{first_at} and {second_access} of {second_value}, {second_bytes} bytes, by CPU{second} at {second_at}"
}
FIX = {
    "data-race": "order the two (one waits until the other has said so), or READ_ONCE() and WRITE_ONCE() "
    "where any order will do"
}
_KINDS = frozenset({Kind.RACE})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each pair of places that race."""
    rows = list(trace.numbered(_KINDS))
    found: list[Finding] = []
    for (first, one), (second, other) in zip(rows[::2], rows[1::2], strict=True):
        data = {"pa": PA(one[4]), **_side(trace, "first", one), **_side(trace, "second", other)}
        found.append(Finding.of(NAME, "data-race", (one[2], other[2]), data, (first, second)))
    return each_once(found)


def _side(trace: Trace, name: str, row: Row) -> dict[str, Value]:
    _, size, cpu, pc, _pa, value = row
    return {
        name: cpu,
        f"{name}_access": "write" if size & _STORES else "read",
        f"{name}_value": Word(value),
        f"{name}_bytes": size & ~_STORES,
        f"{name}_at": trace.place(pc),
    }
