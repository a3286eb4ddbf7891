"""A finding as a sequence chart: a self-contained HTML page, a lifeline for each actor."""

from __future__ import annotations

from html import escape

from emu.report.story import Story, StoryStep

_COLUMN, _ROW, _TOP, _LEFT = 300, 34, 60, 70
_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; }
pre, code, svg text { font-family: ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .6em; border: 1px solid #8888; }
svg { width: 100%; height: auto; }
svg line { stroke: #888; } svg .turn { stroke-dasharray: 4 3; }
svg rect { fill: #4a90d9; fill-opacity: .15; stroke: #4a90d9; rx: 4; }
svg .caches rect { fill: #d9734a; stroke: #d9734a; }
svg text { font-size: 12px; fill: currentColor; }
svg .at, svg .state, svg .number { opacity: .7; font-size: 11px; }
svg .head { font-weight: bold; font-size: 14px; }
"""


def page(story: Story) -> str:
    """Return the page: nothing in it is fetched from anywhere."""
    title = f"{story.rule}: {', '.join(f'CPU{cpu}' for cpu in story.cpus)}"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(story.message)}</p>",
    ]
    if story.report:
        parts.append(f"<pre>{escape(chr(10).join(story.report))}</pre>")
    parts.append(_chart(story))
    if story.fix:
        parts.append(f"<p><b>Fix:</b> {escape(story.fix)}</p>")
    parts.append(f"<p>To run it again:</p><pre>emu replay '{escape(story.case)}'</pre></body></html>")
    return "\n".join(parts) + "\n"


def _chart(story: Story) -> str:
    columns = [*story.cpus, -1] if any(step.cpu < 0 for step in story.steps) else list(story.cpus)
    width = _LEFT + _COLUMN * len(columns) + 260
    heights = [_ROW + (16 if step.state else 0) for step in story.steps]
    height = _TOP + sum(heights) + 20
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img">']
    for index, cpu in enumerate(columns):
        x = _LEFT + _COLUMN * index + _COLUMN // 2
        name = f"CPU{cpu}" if cpu >= 0 else "caches"
        parts.append(f'<text class="head" x="{x}" y="24" text-anchor="middle">{name}</text>')
        parts.append(f'<line x1="{x}" y1="34" x2="{x}" y2="{height - 8}"/>')
    y, before = _TOP, None
    for step, tall in zip(story.steps, heights, strict=True):
        x = _LEFT + _COLUMN * columns.index(step.cpu) + _COLUMN // 2
        if before is not None and before[0] != x:
            parts.append(f'<line class="turn" x1="{before[0]}" y1="{before[1]}" x2="{x}" y2="{y}"/>')
        parts.append(_box(step, x, y, width))
        before = (x, y + 24)
        y += tall
    return "\n".join([*parts, "</svg>"])


def _box(step: StoryStep, x: int, y: int, width: int) -> str:
    half = _COLUMN // 2 - 8
    text = step.text if len(step.text) <= 38 else step.text[:37] + "…"
    shown = [
        f'<g class="{"caches" if step.cpu < 0 else "cpu"}">',
        f"<title>{escape(step.text)} {escape(step.where)}</title>",
        f'<rect x="{x - half}" y="{y}" width="{2 * half}" height="24"/>',
        f'<text x="{x}" y="{y + 16}" text-anchor="middle">{escape(text)}</text></g>',
        f'<text class="number" x="8" y="{y + 16}">{step.number}</text>',
        f'<text class="at" x="{width - 250}" y="{y + 16}">{escape(step.where)}</text>',
    ]
    if step.state:
        shown.append(f'<text class="state" x="{_LEFT}" y="{y + 37}">= {escape(step.state)}</text>')
    return "\n".join(shown)
