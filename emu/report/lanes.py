"""A bring-up as lanes along time: as text of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

_LABEL, _CELLS, _ROWS_MAX = 14, 64, 24
SIGNS = {
    PREPARE: "p",
    WAIT_ALIVE: "w",
    WAIT_ONLINE: "o",
    STARTING: "s",
    MMU_OFF: "m",
    LOOKUP: "u",
    IN_C: "c",
    WAITS: "-",
    ATOMIC: "a",
    CALLBACKS: "t",
}


def lanes_text(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the runs above each other, on one scale."""
    scale = max(run.times.total for run in runs) or 1
    seen: set[str] = set()
    for run, label in zip(runs, labels, strict=True):
        yield f"{label}: {milliseconds(run.times.total)} ms"
        for name, lanes in groups(run):
            names = cells(lanes, run.times.begin, scale, _CELLS)
            seen.update(names)
            yield f"{name:<{_LABEL}}|{''.join(SIGNS.get(each, ' ') for each in names)}".rstrip()
        yield ""
    yield f"{'':<{_LABEL}}|0{milliseconds(scale):>{_CELLS - 4}} ms"
    listed = ", ".join(f"{sign} {name}" for name, sign in SIGNS.items() if name in seen)
    yield from _wrapped(listed)


def groups(run: Run, rows_max: int = _ROWS_MAX) -> Iterator[tuple[str, list[list[Part]]]]:
    """Yield the lanes by their names: that of CPU0, then the others, several in one where there are many."""
    lanes = run.times.lanes
    others = [cpu for cpu in lanes if cpu]
    yield "CPU0", [lanes.get(0, [])]
    size = -(-len(others) // rows_max) or 1
    for at in range(0, len(others), size):
        part = others[at : at + size]
        name = f"CPU{part[0]}" if len(part) == 1 else f"CPU{part[0]}..{part[-1]}"
        yield name, [lanes[cpu] for cpu in part]


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


def _wrapped(text: str) -> list[str]:
    from emu.report.words import wrap

    return list(wrap(text, ""))
