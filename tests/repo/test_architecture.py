"""docs/architecture.md lists the rooms that there are, in the order of the imports."""

from __future__ import annotations

import re
from pathlib import Path

import tree_rules as rules

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "architecture.md"
_ROOM = re.compile(r"^\| (\d+) \| `(\w+)` \| \S", re.MULTILINE)
_LINES_MAX = 200


def test_the_rooms_are_those_of_the_order() -> None:
    """To fix it: the row, the room and what it holds, lowest row first."""
    listed = {(int(row), room) for row, room in _ROOM.findall(_PAGE.read_text())}
    assert listed == {(row, room) for row, rooms in enumerate(rules.ORDER, 1) for room in rooms}


def test_the_rooms_are_all_there() -> None:
    rooms = {path.stem for path in (_ROOT / "emu").glob("*.py")} - {"__init__"}
    rooms |= {path.parent.name for path in (_ROOT / "emu").glob("*/__init__.py")}
    assert rooms == {room for _, room in _ROOM.findall(_PAGE.read_text())}


def test_it_is_read_in_a_quarter_of_an_hour() -> None:
    assert len(_PAGE.read_text().splitlines()) <= _LINES_MAX
