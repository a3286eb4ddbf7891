"""Words in the bars of lanes: where there is room for them, and nowhere else."""

from __future__ import annotations

import re

from emu.report.lane_words import Bar, words_in


def words(lanes: list[list[Bar]]) -> list[tuple[str, float, float]]:
    """Text, and the middle of it."""
    found = [re.fullmatch(r'<text .* x="(.*?)" y="(.*?)" .*>(.*)</text>', text) for text in words_in(lanes)]
    return [(match[3], float(match[1]), float(match[2]) - 4) for match in found if match is not None]


def test_a_bar_that_is_long_and_high_enough_has_its_name_in_its_middle() -> None:
    lane = [Bar("starting", "starting", 10, 100, 20, 16), Bar("starting", "starting", 110, 20, 20, 16)]
    assert words([lane]) == [("starting", 60, 28)]


def test_low_lanes_share_a_name_where_their_bars_have_room_for_it_together() -> None:
    """The bars move to the right; 12 of them are as high as a text."""
    lanes = [[Bar("in C", "c", 10 * row, 400, float(row), 1)] for row in range(100)]
    ((name, x, y),) = words(lanes)
    assert name == "in C"
    assert abs(y - 50) <= 1, "in the middle"
    rows = range(round(y) - 6, round(y) + 6)
    assert max(10 * row for row in rows) < x < min(10 * row + 400 for row in rows)


def test_low_lanes_that_are_too_few_or_have_too_little_in_common_have_no_name() -> None:
    assert words([[Bar("in C", "c", 0, 400, float(row), 1)] for row in range(11)]) == []
    assert words([[Bar("in C", "c", 40 * row, 60, float(row), 1)] for row in range(100)]) == []
    assert words([]) == []
