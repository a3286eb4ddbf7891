"""A finding as a sequence chart: a self-contained HTML page, a lifeline for each actor.

What is at fault and what is to be done come first and stay on the screen; the chart scrolls below. Lifelines
and turns of the scheduler lie behind the boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from emu.report.html_page import html_page
from emu.report.story import Part, Story, StoryStep

_COLUMN, _ROW, _BOX, _TOP, _LEFT, _WHERE = 310, 27, 21, 30, 56, 230
_HALF = _COLUMN // 2 - 14  # of a box; links go through what is left between two columns
_STATE = 15  # what a line of states takes besides
_TEXT_MAX = 38  # characters in a box
_STYLE = """
:root {
  color-scheme: light dark;
  --page: #fff; --ink: #1b1f24; --faint: #5a6370; --line: #c3c9d1; --turn: #9aa3ae;
  --cpu: #e8f0fb; --cpu-edge: #3b73b9; --caches: #fbf0e0; --caches-edge: #b26a00;
  --store: #fbdcdc; --store-edge: #c01c28; --load: #ecdcfb; --load-edge: #7a2bbf;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #14171b; --ink: #e6e9ed; --faint: #9aa4b0; --line: #3d444d; --turn: #6b7480;
  --cpu: #1c2b40; --cpu-edge: #6aa3e8; --caches: #3a2a10; --caches-edge: #e0a04a;
  --store: #4a1518; --store-edge: #ff7b84; --load: #34184f; --load-edge: #c79bff;
} }
body { font: 13px/1.35 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--ink); }
header { position: sticky; top: 0; background: var(--page); border-bottom: 1px solid var(--line); }
header, main { padding: .5em 1.2em; }
h1 { font-size: 16px; margin: 0; }
p { margin: .25em 0; }
code, pre, svg text { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
pre { margin: .25em 0; white-space: pre-wrap; }
.case { font-size: 11px; overflow-wrap: anywhere; user-select: all; }
.key { display: flex; flex-wrap: wrap; gap: .2em 1.4em; color: var(--faint); font-size: 12px; }
.key svg { width: 34px; height: 14px; vertical-align: -2px; }
main svg { display: block; max-width: 100%; height: auto; }
.life { stroke: var(--line); }
.turn { stroke: var(--turn); stroke-dasharray: 2 4; fill: none; }
.link { stroke: var(--store-edge); stroke-width: 2; fill: none; }
.tip { fill: var(--store-edge); }
rect { fill: var(--cpu); stroke: var(--cpu-edge); rx: 3; }
.caches rect { fill: var(--caches); stroke: var(--caches-edge); }
.store rect { fill: var(--store); stroke: var(--store-edge); stroke-width: 2; }
.load rect { fill: var(--load); stroke: var(--load-edge); stroke-width: 2; }
.store:target rect, .load:target rect { stroke-width: 4; }
svg text { font-size: 12px; fill: var(--ink); }
svg .at, svg .state, svg .number { font-size: 11px; fill: var(--faint); }
svg .head { font-weight: bold; font-size: 13px; }
@media print {
  @page { margin: 1cm; }
  :root {
    color-scheme: light; --page: #fff; --ink: #000; --faint: #444; --line: #aaa; --turn: #888;
    --cpu: #e8f0fb; --cpu-edge: #3b73b9; --caches: #fbf0e0; --caches-edge: #b26a00;
    --store: #fbdcdc; --store-edge: #c01c28; --load: #ecdcfb; --load-edge: #7a2bbf;
  }
  * { print-color-adjust: exact; }
  header { position: static; }
  main svg { width: auto; max-width: 100%; max-height: 21cm; margin: 0 auto; }
}
"""


@dataclass(frozen=True, slots=True)
class _Placed:
    # A step, and where its box is: the middle of its column, and its upper edge.
    step: StoryStep
    x: int
    y: int


def page(story: Story) -> str:
    """Return the page: nothing in it is fetched from anywhere."""
    title = f"{story.rule}: {', '.join(f'CPU{cpu}' for cpu in story.cpus)}"
    parts = [
        "<header>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(story.message)}</p>",
    ]
    if story.fix:
        parts.append(f'<p class="fix"><b>Fix:</b> {escape(story.fix)}</p>')
    parts.append(f"<p class=\"case\"><code>emu replay '{escape(story.case)}'</code></p>")
    parts += [_key(story), "</header><main>"]
    if story.report:
        parts.append(f"<pre>{escape(chr(10).join(story.report))}</pre>")
    return html_page(title, _STYLE, "\n".join([*parts, _chart(story), "</main>"]))


def _key(story: Story) -> str:
    # What colours and lines mean, as far as the chart has them.
    box = '<rect x="1" y="1" width="32" height="12"/>'
    turn = '<line class="turn" x1="1" y1="2" x2="33" y2="12"/>'
    link = '<line class="link" x1="1" y1="7" x2="33" y2="7"/>'
    parts = {step.part for step in story.steps}
    rows = [
        (True, "cpu", box, "a CPU"),
        (any(step.cpu < 0 for step in story.steps), "caches", box, "the caches"),
        (Part.STORE in parts, "store", box, "the store at fault"),
        (Part.LOAD in parts, "load", box, "the load that it reaches, or misses"),
        ({Part.STORE, Part.LOAD} <= parts, "", link, "from the one to the other"),
        (len({step.cpu for step in story.steps}) > 1, "", turn, "the scheduler goes to another CPU"),
    ]
    shown = [f'<span class="{name}"><svg>{drawn}</svg> {text}</span>' for on, name, drawn, text in rows if on]
    return "\n".join(
        ['<div class="key">', *shown, "<span>numbers: <code>goto</code> of emu step</span>", "</div>"]
    )


def _chart(story: Story) -> str:
    columns = [*story.cpus, -1] if any(step.cpu < 0 for step in story.steps) else list(story.cpus)
    width = _LEFT + _COLUMN * len(columns) + _WHERE
    placed, y = [], _TOP
    for step in story.steps:
        placed.append(_Placed(step, _LEFT + _COLUMN * columns.index(step.cpu) + _COLUMN // 2, y))
        y += _ROW + (_STATE if step.state else 0)
    parts = [f'<svg width="{width}" height="{y + 6}" viewBox="0 0 {width} {y + 6}" role="img">']
    for index, cpu in enumerate(columns):
        x = _LEFT + _COLUMN * index + _COLUMN // 2
        name = f"CPU{cpu}" if cpu >= 0 else "caches"
        parts.append(f'<text class="head" x="{x}" y="16" text-anchor="middle">{name}</text>')
        parts.append(f'<line class="life" x1="{x}" y1="22" x2="{x}" y2="{y + 2}"/>')
    for one, other in zip(placed, placed[1:], strict=False):
        if one.x != other.x:
            line = f'x1="{one.x}" y1="{one.y + _BOX}" x2="{other.x}" y2="{other.y}"'
            parts.append(f'<line class="turn" {line}/>')
    parts += _links(placed)
    parts += [_box(each, number, _partner(placed, number), width) for number, each in enumerate(placed)]
    return "\n".join([*parts, "</svg>"])


def _partner(placed: Sequence[_Placed], number: int) -> int:
    # The step that the store or load at fault belongs to; -1: none.
    part = placed[number].step.part
    if part is Part.LOAD:
        before = range(number - 1, -1, -1)
        return next((at for at in before if placed[at].step.part is Part.STORE), -1)
    if part is Part.STORE:
        return next((at for at in range(number + 1, len(placed)) if placed[at].step.part is Part.LOAD), -1)
    return -1


def _links(placed: Sequence[_Placed]) -> Iterator[str]:
    # From each store at fault to its load, between two columns, where no box is.
    for number, load in enumerate(placed):
        partner = _partner(placed, number) if load.step.part is Part.LOAD else -1
        if partner < 0:
            continue
        store = placed[partner]
        side = 1 if load.x > store.x else -1
        end = -side if load.x != store.x else side  # the side of the load that it comes to
        gutter = store.x + side * (_HALF + 9)
        y1, y2 = store.y + _BOX // 2, load.y + _BOX // 2
        tip = load.x + end * _HALF
        yield f'<path class="link" d="M{store.x + side * _HALF} {y1}H{gutter}V{y2}H{tip + end * 6}"/>'
        yield f'<path class="tip" d="M{tip} {y2}l{end * 8} -4v8z"/>'


def _box(placed: _Placed, number: int, partner: int, width: int) -> str:
    step, x, y = placed.step, placed.x, placed.y
    text = step.text if len(step.text) <= _TEXT_MAX else step.text[: _TEXT_MAX - 1] + "…"
    kind = step.part.value or ("caches" if step.cpu < 0 else "cpu")
    shown = [
        f'<g class="{kind}" id="step-{number}">',
        f"<title>{escape(step.text)} {escape(step.where)}</title>",
        f'<rect x="{x - _HALF}" y="{y}" width="{2 * _HALF}" height="{_BOX}"/>',
        f'<text x="{x}" y="{y + 15}" text-anchor="middle">{escape(text)}</text></g>',
    ]
    if partner >= 0:
        shown = [f'<a href="#step-{partner}">', *shown, "</a>"]
    shown += [
        f'<text class="number" x="8" y="{y + 15}">{step.number}</text>',
        f'<text class="at" x="{width - _WHERE + 6}" y="{y + 15}">{escape(step.where)}</text>',
    ]
    if step.state:
        shown.append(f'<text class="state" x="{_LEFT}" y="{y + _BOX + 13}">= {escape(step.state)}</text>')
    return "\n".join(shown)
