"""Lost updates: a CPU stores what it made of a value, and another has stored in between."""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "lost-update"
SEES = "operations"
_NEAR = 16  # instructions of 4 bytes between a load and the store that belongs to it
_NEAR_LINES = 3  # likewise of a host task


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each store over a value that its CPU has not seen.

    A store belongs to a load of the same bytes when it is the CPU's next access to them, the new value is the
    old one and one more or less, or with one bit changed, and the two stand close together.
    """
    loads: dict[tuple[int, int, int], tuple[int, int]] = {}  # CPU, PA, size to value and PC
    between: dict[tuple[int, int, int], tuple[int, int, int]] = {}  # to CPU, PC and value of another's store
    found: dict[str, Finding] = {}
    for kind, size, cpu, pc, pa, value in trace.rows():
        key = (cpu, pa, size)
        if kind == Kind.LOAD:
            loads[key] = (value, pc)
            between.pop(key, None)
        elif kind in (Kind.STORE, Kind.ATOMIC, Kind.STORE_EXCLUSIVE):
            old = loads.pop(key, None)
            other = between.pop(key, None)
            if (
                kind == Kind.STORE
                and old is not None
                and other is not None
                and _belongs(trace, old, value, pc)
            ):
                who, where, theirs = other
                message = (
                    f"CPU{cpu} stored {value:#x} to PA {pa:#x} at {trace.where(pc)}, made of {old[0]:#x}: "
                    f"the {theirs:#x} that CPU{who} stored at {trace.where(where)} in between is lost"
                )
                found.setdefault(message, Finding(NAME, message, (cpu, who), case))
            for others in [each for each in loads if each[0] != cpu and each[1:] == (pa, size)]:
                between[others] = (cpu, pc, value)
    return list(found.values())


def _belongs(trace: Trace, load: tuple[int, int], value: int, pc: int) -> bool:
    old, at = load
    here, there = trace.location(at), trace.location(pc)
    if here is not None and there is not None:
        (file, _, line), (other, _, behind) = here.rpartition(":"), there.rpartition(":")
        near = file == other and 0 <= int(behind) - int(line) <= _NEAR_LINES
    else:
        near = here is there and 0 < pc - at <= 4 * _NEAR
    small = 0 < abs(value - old) <= 1 or (value ^ old).bit_count() == 1
    return near and small
