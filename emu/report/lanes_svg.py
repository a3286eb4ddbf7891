"""A bring-up as lanes along time: as SVG, and as an HTML page with its table, without any link."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from emu.compare.runs import Run
from emu.compare.times import PREPARE, WAIT_ALIVE, WAIT_ONLINE, Part
from emu.report.compared import milliseconds
from emu.report.html_page import html_page
from emu.report.lane_words import Bar, words_in
from emu.report.lanes import LOOKS, cells, groups

STYLE = """
:root { color-scheme: light dark; --ink: #222; --rule: #ccc; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --rule: #555; --paper: #16181c; } }
.paper { fill: var(--paper); } .axis { stroke: var(--rule); stroke-width: 1; }
text { fill: var(--ink); font: 12px ui-monospace, monospace; } .head { font-weight: bold; font-size: 14px; }
.prepare { fill: #2f6fb3; } .alive { fill: #c9541f; } .online { fill: #e0a32e; } .starting { fill: #8d8d8d; }
.off { fill: #6b4fa0; } .on { fill: #a07fd0; } .c { fill: #2c8f7b; } .waits { fill: #c9541f; opacity: .35; }
.atomic { fill: #b83280; } .callbacks { fill: #58a55c; }
.word { font-size: 11px; fill: #fff; } .in-online, .in-starting, .in-callbacks { fill: #111; }
.in-waits { fill: var(--ink); }
"""
_WIDTH, _LEFT, _RIGHT = 1200, 110, 20
_PLOT = _WIDTH - _LEFT - _RIGHT
_BOOT, _HEAD, _FOOT, _GAP = 16, 26, 34, 14
_LANES_HIGH, _LANE_LEAST = 200, 0.8  # pixels of all lanes of a bring-up, and of one
_ALL_HIGH = 480  # pixels of the lanes of all bring-ups, so that three of them are seen at once
_ROWS_MAX, _CELLS = 192, 400  # with more CPUs a row has several; pieces of time of such a row
_BLOCKS_FROM = 8  # rows from which on a line stands between sockets or clusters
_NAMES_APART = 14  # pixels between two names of lanes


def chart(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """Return an SVG image: the runs above each other, on one scale."""
    scale = max(run.times.total for run in runs) or 1
    seen = {part.name for run in runs for lane in run.times.lanes.values() for part in lane}
    parts: list[str] = []
    top = _HEAD + 20 * len(list(_legend_rows(seen)))
    parts += _legend(seen)
    for run, label in zip(runs, labels, strict=True):
        drawn, bottom = _panel(run, label, scale, top, min(_LANES_HIGH, _ALL_HIGH / len(runs)))
        parts += drawn
        top = bottom + _GAP
    parts += _axis(scale, top)
    height = top + _FOOT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def page(runs: Sequence[Run], labels: Sequence[str], lines: Sequence[str]) -> str:
    """Return the page: the chart, and the text of the comparison below it."""
    title = f"bring-up of {runs[0].cpus} CPUs"
    body = "body { margin: 1.5em auto; max-width: 1240px; padding: 0 1em; background: var(--paper); }"
    text = "pre, h1 { color: var(--ink); font: 13px/1.4 ui-monospace, monospace; white-space: pre-wrap; }"
    return html_page(
        title,
        f"{STYLE}{body} {text} h1 {{ font-size: 18px; }} svg {{ width: 100%; height: auto; }}",
        f"<h1>{escape(title)}, simulated time</h1>\n{chart(runs, labels)}"
        f"<pre>{escape(chr(10).join(lines))}</pre>",
    )


def _x(ns: int, scale: int) -> float:
    return _LEFT + ns * _PLOT / scale


def _panel(run: Run, label: str, scale: int, top: int, lanes_high: float) -> tuple[list[str], int]:
    times = run.times
    boot, *rows = groups(run, _ROWS_MAX)
    high = max(_LANE_LEAST, min(_BOOT, lanes_high / max(1, len(rows))))
    head = f"{label}: {milliseconds(times.total)} ms"
    parts = [f'<text class="head" x="{_LEFT}" y="{top + 14}">{escape(head)}</text>']
    at: float = top + 22
    parts.append(_name("CPU0", at + _BOOT - 4))
    bars = _bars(boot.lanes[0], times.begin, scale, (at, _BOOT))
    parts += [*_drawn(bars, scale), *words_in([bars])]
    at += _BOOT + 4
    named, block, shift = at - _NAMES_APART, -1, _block_shift(run.hwids)
    drawn: list[list[Bar]] = []
    for name, first, lanes in rows:
        if (now := run.hwids[first] >> shift) != block and block >= 0 and len(rows) > _BLOCKS_FROM:
            parts.append(
                f'<line class="axis" x1="{_LEFT - 4}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}"/>'
            )
        block = now
        if at - named >= _NAMES_APART:
            parts.append(_name(name, at + high - 4 if high >= 12 else at + 8))
            named = at
        lane = lanes[0] if len(lanes) == 1 else _merged(lanes, times.begin, scale)
        drawn.append(_bars(lane, times.begin, scale, (at, high if high < 5 else high - 1)))
        parts += _drawn(drawn[-1], scale)
        at += high
    parts += words_in(drawn)
    end = _x(times.total, scale)
    parts.append(f'<line class="axis" x1="{end:.1f}" y1="{top + 20}" x2="{end:.1f}" y2="{at:.1f}"/>')
    return parts, int(at) + 4


def _block_shift(hwids: Sequence[int]) -> int:
    # Where in a hwid the number of a socket or cluster begins: the highest affinity level in which the CPUs
    # differ, but for the lowest; 64: in none.
    return next((shift for shift in (32, 16, 8) if len({hwid >> shift for hwid in hwids}) > 1), 64)


def _merged(lanes: Sequence[Sequence[Part]], begin: int, scale: int) -> list[Part]:
    # One lane for several CPUs: what most of them are about.
    names = cells(lanes, begin, scale, _CELLS)
    edges = [begin + scale * at // _CELLS for at in range(_CELLS + 1)]
    return [Part(name, edges[at], edges[at + 1], 0) for at, name in enumerate(names) if name]


def _name(text: str, y: float) -> str:
    return f'<text x="{_LEFT - 8}" y="{y:.1f}" text-anchor="end">{text}</text>'


def _bars(lane: Sequence[Part], begin: int, scale: int, place: tuple[float, float]) -> list[Bar]:
    # Neighbours of one name are one bar: thousands of spans of the boot CPU are less than a pixel each.
    joined: list[Part] = []
    for part in lane:
        start, end = max(0, part.start - begin), max(0, part.end - begin)
        last = joined[-1] if joined else None
        if last is not None and last.name == part.name and (start - last.end) * _PLOT < scale:
            joined[-1] = last._replace(end=end)
        else:
            joined.append(part._replace(start=start, end=end))
    return [
        Bar(part.name, LOOKS[part.name].style, _x(part.start, scale), width, *place)
        for part in joined
        if (width := (part.end - part.start) * _PLOT / scale) >= 0.1
    ]


def _drawn(bars: Sequence[Bar], scale: int) -> Iterator[str]:
    for bar in bars:
        what = f"{bar.name}, {milliseconds(round(bar.width * scale / _PLOT))} ms"
        yield (
            f'<rect class="{bar.style}" x="{bar.x:.2f}" y="{bar.top:.2f}" width="{max(bar.width, 0.4):.2f}" '
            f'height="{bar.high:.2f}"><title>{escape(what)}</title></rect>'
        )


def _axis(scale: int, top: int) -> Iterator[str]:
    yield f'<line class="axis" x1="{_LEFT}" y1="{top}" x2="{_WIDTH - _RIGHT}" y2="{top}"/>'
    step = tick_step(scale)
    for ns in range(0, scale + 1, step):
        x = _x(ns, scale)
        yield f'<line class="axis" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + 5}"/>'
        anchor = "middle" if x < _WIDTH - 60 else "end"
        text = f"{ns / 1e6:g}" + (" ms" if ns + step > scale else "")
        yield f'<text x="{x:.1f}" y="{top + 20}" text-anchor="{anchor}">{text}</text>'


def tick_step(scale: int) -> int:
    """Return the distance of ticks on an axis that ends at ``scale``: 1, 2 or 5 times a power of ten."""
    step = 1
    while scale // step > 10:
        step *= 5 if str(step)[0] == "2" else 2
        if str(step)[0] == "4":
            step = step // 4 * 5
    return step


def _legend_rows(seen: set[str]) -> Iterator[list[str]]:
    boot = [name for name in LOOKS if name in seen and name in (PREPARE, WAIT_ALIVE, WAIT_ONLINE)]
    yield boot
    yield [name for name in LOOKS if name in seen and name not in boot]


def _legend(seen: set[str]) -> Iterator[str]:
    for row, (who, names) in enumerate(zip(("boot CPU", "others"), _legend_rows(seen), strict=True)):
        y, x = 8 + 20 * row, _LEFT
        yield _name(who, y + 11)
        for name in names:
            yield f'<rect class="{LOOKS[name].style}" x="{x}" y="{y}" width="14" height="12"/>'
            yield f'<text x="{x + 20}" y="{y + 11}">{escape(name)}</text>'
            x += 44 + 8 * len(name)
