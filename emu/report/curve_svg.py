"""The curve of a sweep as SVG: a line for each kind of bring-up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from emu.compare.runs import Run
from emu.compare.sweep import CPUS
from emu.report.lanes_svg import STYLE, tick_step

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 480, 90, 110, 30, 50
_COLOURS = ("#2f6fb3", "#c9541f", "#2c8f7b", "#6b4fa0")
_LABEL_APART = 15


def curve(key: str, values: Sequence[int], rows: Sequence[Sequence[Run]]) -> str:
    """Return the image: total time over the values, each line with its name at its end."""
    top = max((run.times.total for row in rows for run in row if not run.refused), default=1) or 1
    parts = [*_axes(key, values, top), *_lines(values, rows, top)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _x(value: int, values: Sequence[int]) -> float:
    return _LEFT + (value - values[0]) * (_WIDTH - _LEFT - _RIGHT) / (values[-1] - values[0])


def _y(ns: int, top: int) -> float:
    return _HEIGHT - _BOTTOM - ns * (_HEIGHT - _TOP - _BOTTOM) / top


def _axes(key: str, values: Sequence[int], top: int) -> Iterator[str]:
    base = _HEIGHT - _BOTTOM
    yield f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}"/>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{base}"/>'
    for value in values:
        x = _x(value, values)
        named = f"{value}" if key == CPUS else f"{value / 1000:g}"
        yield f'<line class="axis" x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 5}"/>'
        yield f'<text x="{x:.1f}" y="{base + 20}" text-anchor="middle">{named}</text>'
    what = "CPUs" if key == CPUS else f"{key}, us"
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{what}</text>'
    for ns in range(0, top + 1, tick_step(top)):
        y = _y(ns, top)
        yield f'<line class="axis" x1="{_LEFT - 5}" y1="{y:.1f}" x2="{_LEFT}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 9}" y="{y + 4:.1f}" text-anchor="end">{ns / 1e6:g}</text>'
    yield f'<text x="{_LEFT - 9}" y="{_TOP - 12}" text-anchor="end">ms</text>'


def _lines(values: Sequence[int], rows: Sequence[Sequence[Run]], top: int) -> Iterator[str]:
    ends: list[tuple[float, str, str]] = []
    for number, first in enumerate(rows[0]):
        points = [
            (_x(value, values), _y(row[number].times.total, top))
            for value, row in zip(values, rows, strict=True)
            if not row[number].refused
        ]
        if not points:
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        ends.append((points[-1][1], first.case.bringup, colour))
    below = -1e9
    for y, name, colour in sorted(ends):  # names that would overlap are moved down
        below = max(y + 4, below + _LABEL_APART)
        x = _WIDTH - _RIGHT + 10
        yield f'<text x="{x}" y="{below:.1f}" style="fill: {colour}">{escape(name)}</text>'
