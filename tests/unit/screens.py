"""Screens of ``emu step`` as text: which are kept, and how one is made.

usage: PYTHONPATH=tests:tests/unit python -m screens [NAME...]

writes those that are kept to tests/unit/screens/NAME.txt: look at what has changed in them before you commit.
The lines of the host's Python files are replaced: they move with every change there.
"""

from __future__ import annotations

import asyncio
import re
import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

from textual.pilot import Pilot

from emu.case import Case
from emu.debug.remote import Debugger
from emu.debug.tui.app import Prompt, StepApp

FOLDER = Path(__file__).parent / "screens"
LOOKS_MAX = 1500
_NAMED_KEYS = {"?": "question_mark", "\n": "enter", "\x1b": "escape", " ": "space"}
_LINE_OF_HOST = re.compile(r"(\w+\.py):\d+")


class Screen(NamedTuple):
    """A screen that is kept: its name, its size, and the keys that lead there from ``until scan cpu 1``."""

    name: str
    size: tuple[int, int]
    keys: str


SCREENS = [
    *(
        Screen(f"{name}-{columns}x{lines}", (columns, lines), keys)
        for (columns, lines), (name, keys) in product(
            ((80, 24), (120, 40), (200, 60)),
            # A host task without its source, which changes; memory in words of 4 bytes.
            (("code", "2"), ("host", "pd2"), ("memory", "eu32 x1\n\x1b")),
        )
    ),
    Screen("locals-80x24", (80, 24), "pd6"),
    Screen("help-80x24", (80, 24), "?"),
    Screen("data-120x40", (120, 40), "3"),
]


async def idle(app: StepApp, pilot: Pilot[int]) -> None:
    """Wait until everything asked for has been answered and drawn."""
    for _ in range(LOOKS_MAX):
        await pilot.pause(0.01)
        if not app.waiting and app.answer:
            await pilot.pause()
            return
    raise AssertionError("the debugger does not answer")


def shown(app: StepApp) -> list[str]:
    """Return the lines of the screen."""
    rows = app.screen._compositor.render_strips(app.size)
    return [_LINE_OF_HOST.sub(r"\1:N", strip.text).rstrip() for strip in rows]


async def settled(app: StepApp, pilot: Pilot[int]) -> list[str]:
    """Return the lines of the screen when they have stayed the same for some looks."""
    seen: list[list[str]] = []
    for _ in range(LOOKS_MAX):
        await pilot.pause(0.02)
        seen = [*seen[-4:], shown(app)]
        if len(seen) == 5 and all(each == seen[0] for each in seen):
            return seen[0]
    raise AssertionError("the screen does not settle")


def take(screen: Screen) -> str:
    """Return a screen as text."""
    app = StepApp(Debugger(Case("v3", topology="flat:8", grain="instruction")))
    lines: list[str] = []

    async def main() -> None:
        async with app.run_test(size=screen.size) as pilot:
            await idle(app, pilot)
            await pilot.press("colon")
            app.query_one(Prompt).value = "until scan cpu 1"
            for key in ("enter", "escape"):  # which stops what still runs
                await pilot.press(key)
                await idle(app, pilot)
            for key in screen.keys:
                await pilot.press(_NAMED_KEYS.get(key, key))
                await idle(app, pilot)
            lines.extend(await settled(app, pilot))

    try:
        asyncio.run(main())
    finally:
        app.debugger.close()
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    """Write screens to their files."""
    FOLDER.mkdir(exist_ok=True)
    for screen in SCREENS:
        if not names or screen.name in names:
            (FOLDER / f"{screen.name}.txt").write_text(take(screen))


if __name__ == "__main__":
    main(sys.argv[1:])
