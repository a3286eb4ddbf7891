"""Words in the bars of lanes, so that a picture is read without its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

_HIGH, _PER_LETTER, _MARGIN = 12.0, 6.7, 8.0  # pixels of a line of text, of a letter, and at its sides


class Bar(NamedTuple):
    """A part of a lane as it is drawn: pixels."""

    name: str
    style: str
    x: float
    width: float
    top: float
    high: float


def words_in(lanes: Sequence[Sequence[Bar]]) -> Iterator[str]:
    """Yield the texts in the bars of lanes that lie below each other, where there is room for one.

    A lane that is as high as a text has one in each bar that is long enough. Of lower lanes, so many as are
    as high together have one for each name, as near the middle as there is room.
    """
    bars = [bar for lane in lanes for bar in lane]
    if not bars:
        return
    if bars[0].high >= _HIGH:
        for bar in bars:
            if bar.width >= _room(bar.name):
                yield _word(bar.name, bar.style, bar.x + bar.width / 2, bar.top + bar.high / 2)
        return
    middle = (bars[0].top + bars[-1].top) / 2
    for name in dict.fromkeys(bar.name for bar in bars):
        places = [place for place in _places(lanes, name) if place[0] >= _room(name)]
        if places:
            _, x, y, style = min(places, key=lambda place: abs(place[2] - middle))
            yield _word(name, style, x, y)


def _places(lanes: Sequence[Sequence[Bar]], name: str) -> Iterator[tuple[float, float, float, str]]:
    # For each row of lanes that are as high as a text together: what the longest bars of this name have in
    # common, as its length, the middle of that and of the lanes, and the style.
    longest = [max((bar for bar in lane if bar.name == name), key=_width, default=None) for lane in lanes]
    for at, first in enumerate(longest):
        if first is None:
            continue
        end = next((to for to in range(at, len(lanes)) if _below(longest[to]) >= first.top + _HIGH), -1)
        row = [bar for bar in longest[at : end + 1] if bar is not None]
        if len(row) == end + 1 - at > 0:
            left, right = max(bar.x for bar in row), min(bar.x + bar.width for bar in row)
            yield right - left, (left + right) / 2, (first.top + _below(row[-1])) / 2, first.style


def _width(bar: Bar) -> float:
    return bar.width


def _below(bar: Bar | None) -> float:
    return 0.0 if bar is None else bar.top + bar.high


def _room(name: str) -> float:
    return len(name) * _PER_LETTER + _MARGIN


def _word(name: str, style: str, x: float, y: float) -> str:
    place = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle"'
    return f'<text class="word in-{style}" {place}>{escape(name)}</text>'
