"""The screens of ``emu step`` at 80x24, 120x40 and 200x60, held against those that are kept as text."""

from __future__ import annotations

import pytest
import screens
from screens import FOLDER, SCREENS, Screen, settled, take
from textual.pilot import Pilot

from emu.debug.tui import panes
from emu.debug.tui.app import StepApp


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_is_as_it_is_kept(screen: Screen) -> None:
    seen = take(screen).splitlines()
    kept = (FOLDER / f"{screen.name}.txt").read_text().splitlines()
    columns, lines = screen.size
    assert len(seen) == lines
    assert max(map(len, seen)) <= columns
    assert seen == kept


def test_a_pane_that_is_laid_out_behind_the_answer_is_filled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host what is in a pane that is shown only now was made when it had no width."""
    screen = next(each for each in SCREENS if each.name == "memory-120x40")

    async def filled_too_early(app: StepApp, pilot: Pilot[int]) -> list[str]:
        app._drawn["memory"] = 0
        app._fill("memory", panes.memory(app.answer["view"], None, 0))
        return await settled(app, pilot)

    monkeypatch.setattr(screens, "settled", filled_too_early)
    assert take(screen) == (FOLDER / f"{screen.name}.txt").read_text()


def test_no_screen_is_kept_that_nobody_makes() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {screen.name for screen in SCREENS}
