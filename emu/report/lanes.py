"""A bring-up as lanes along time: as text of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emu.compare.runs import Run
from emu.compare.times import (
    ATOMIC,
    CALLBACKS,
    IN_C,
    LOOKUP,
    MMU_OFF,
    PREPARE,
    STARTING,
    WAIT_ALIVE,
    WAIT_ONLINE,
    WAITS,
    Part,
)
from emu.report.compared import milliseconds
from emu.report.words import wrap

_LABEL, _CELLS, _ROWS_MAX = 14, 64, 24


class Look(NamedTuple):
    """How a part is shown: its letter in text, and its class in a picture."""

    letter: str
    style: str


# In the order of a bring-up; the boot CPU's come first.
LOOKS = {
    PREPARE: Look("p", "prepare"),
    WAIT_ALIVE: Look("w", "alive"),
    WAIT_ONLINE: Look("o", "online"),
    STARTING: Look("s", "starting"),
    MMU_OFF: Look("m", "off"),
    LOOKUP: Look("u", "on"),
    IN_C: Look("c", "c"),
    WAITS: Look("-", "waits"),
    ATOMIC: Look("a", "atomic"),
    CALLBACKS: Look("t", "callbacks"),
}
_NONE = Look(" ", "")


class Group(NamedTuple):
    """Lanes that are shown as one: their name, the first of their CPUs, and each."""

    name: str
    first: int
    lanes: list[list[Part]]


def lanes_text(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the runs above each other, on one scale."""
    scale = max(run.times.total for run in runs) or 1
    seen: set[str] = set()
    for run, label in zip(runs, labels, strict=True):
        yield f"{label}: {milliseconds(run.times.total)} ms"
        for name, _, lanes in groups(run):
            names = cells(lanes, run.times.begin, scale, _CELLS)
            seen.update(names)
            yield f"{name:<{_LABEL}}|{''.join(LOOKS.get(each, _NONE).letter for each in names)}".rstrip()
        yield ""
    yield f"{'':<{_LABEL}}|0{milliseconds(scale):>{_CELLS - 4}} ms"
    listed = ", ".join(f"{look.letter} {name}" for name, look in LOOKS.items() if name in seen)
    yield from wrap(listed, "")


def groups(run: Run, rows_max: int = _ROWS_MAX) -> Iterator[Group]:
    """Yield the lanes: that of CPU0, then the others, several in one where there are many."""
    lanes = run.times.lanes
    others = [cpu for cpu in lanes if cpu]
    yield Group("CPU0", 0, [lanes.get(0, [])])
    size = -(-len(others) // rows_max) or 1
    for at in range(0, len(others), size):
        part = others[at : at + size]
        name = f"CPU{part[0]}" if len(part) == 1 else f"CPU{part[0]}..{part[-1]}"
        yield Group(name, part[0], [lanes[cpu] for cpu in part])


def cells(lanes: Sequence[Sequence[Part]], begin: int, scale: int, count: int) -> list[str]:
    """Return for each of ``count`` equal pieces of time the part that takes the most of it; empty: none."""
    weights: list[dict[str, int]] = [{} for _ in range(count)]
    for lane in lanes:
        for part in lane:
            first, last = (max(0, ns - begin) * count for ns in (part.start, part.end))
            for cell in range(first // scale, min(count, -(-last // scale))):
                covered = min(last, (cell + 1) * scale) - max(first, cell * scale)
                if covered > 0:
                    weights[cell][part.name] = weights[cell].get(part.name, 0) + covered
    return [max(each, key=lambda name: each[name]) if each else "" for each in weights]
