"""Stale reads: a CPU's last look at some bytes gave an old value, because a newer one lay in the caches.

Or in memory, behind a copy in the caches. A CPU that looks again and gets the newer value was only early.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "stale"
SEES = "caches"
_LOADS = (Kind.LOAD, Kind.LOAD_EXCLUSIVE)
_STORES = (Kind.STORE, Kind.STORE_EXCLUSIVE, Kind.ATOMIC)


@dataclass(slots=True)
class _Look:
    newer: int
    got: int
    pc: int
    writer: tuple[int, int] | None  # CPU and PC of the newest store then


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and place whose last look was stale."""
    looks: dict[tuple[int, int, int], _Look | None] = {}  # CPU, PA, size
    writers: dict[int, tuple[int, int]] = {}  # byte to CPU and PC
    pending: dict[tuple[int, int, int], int] = {}
    for kind, size, cpu, pc, pa, value in trace.rows():
        if kind == Kind.STALE:
            pending[cpu, pa, size] = value
        elif kind in _LOADS:
            newer = pending.pop((cpu, pa, size), None)
            if newer is not None:
                looks[cpu, pa, size] = _Look(newer, value, pc, writers.get(pa))
            elif (cpu, pa, size) in looks:
                looks[cpu, pa, size] = None
        elif kind in _STORES:
            writers.update({pa + at: (cpu, pc) for at in range(size)})
    found = []
    for (cpu, pa, _size), look in looks.items():
        if look is None:
            continue
        message = (
            f"CPU{cpu} at {trace.where(look.pc)} read {look.got:#x} from PA {pa:#x}, which is stale: "
            f"{look.newer:#x} "
        )
        who: tuple[int, ...] = (cpu,)
        if look.writer is not None and look.writer[0] != cpu:
            message += f"was stored by CPU{look.writer[0]} at {trace.where(look.writer[1])}"
            who = (cpu, look.writer[0])
        else:
            message += "was there"
        found.append(Finding(NAME, message, who, case))
    return found
