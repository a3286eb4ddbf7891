"""The screens of ``emu step`` at 80x24, 120x40 and 200x60, held against those that are kept as text."""

from __future__ import annotations

import pytest
from screens import FOLDER, SCREENS, Screen, take


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_is_as_it_is_kept(screen: Screen) -> None:
    seen = take(screen).splitlines()
    kept = (FOLDER / f"{screen.name}.txt").read_text().splitlines()
    columns, lines = screen.size
    assert len(seen) == lines
    assert max(map(len, seen)) <= columns
    assert seen == kept


def test_no_screen_is_kept_that_nobody_makes() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {screen.name for screen in SCREENS}
