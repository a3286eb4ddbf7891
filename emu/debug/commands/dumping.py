"""The command that follows memory at an address: its words are in a pane of the screen at each stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emu.debug.commands.arguments import WIDTHS
from emu.debug.commands.context import CommandTable, Context
from emu.debug.commands.memory import locate
from emu.debug.dump import dump
from emu.errors import InvalidCase

_COLUMNS, _ROWS = 80, 8  # of what the command says
_BYTES = 2048  # of what a pane may show
_NOTHING = "nothing: name an address, such as sp or cpu_boot_data"

TABLE = CommandTable()


@TABLE.command(
    "memory",
    "[u8|u16|u32|u64] [hex|dec] [DATA|EXPRESSION]",
    "follow memory there, in a pane of the screen; size and form alone change those",
)
def _memory(context: Context, text: str) -> list[str]:
    settings, words = context.session.settings, text.split()
    followed = settings.followed
    while words and words[0] in (*WIDTHS, "hex", "dec"):
        word = words.pop(0)
        followed = replace(followed, width=WIDTHS[word]) if word in WIDTHS else replace(followed, form=word)
    if words:
        followed = replace(followed, what=" ".join(words))
    if not followed.what:
        raise InvalidCase(_NOTHING)
    address, data = locate(context, followed.what, _BYTES)
    settings.followed = followed
    return dump(address, data, followed.width, followed.form, _COLUMNS)[:_ROWS]


def followed_memory(context: Context) -> dict[str, Any]:
    """Return the memory that is followed, as data for JSON: ``said`` is why there is none."""
    followed = context.session.settings.followed
    found = {"what": followed.what, "width": followed.width, "form": followed.form, "said": ""}
    try:
        if not followed.what:
            raise InvalidCase(_NOTHING)
        address, data = locate(context, followed.what, _BYTES)
    except InvalidCase as error:
        return {**found, "said": str(error), "address": 0, "name": "", "data": ""}
    return {**found, "address": address, "name": context.pointed(address), "data": data.hex()}
