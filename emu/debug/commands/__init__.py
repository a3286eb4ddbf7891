"""The debugger's command language: a line of text in, lines of text out, for scripts, prompts and monitors.

A command that goes back in time raises :class:`GoBack`; the front end travels and calls
:meth:`Commands.arrived` where the travel ends.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from emu.debug.commands import (
    cpus,
    dumping,
    editing,
    examining,
    history,
    lines,
    memory,
    registers,
    scripts,
    states,
    stepping,
    stopping,
    translating,
)
from emu.debug.commands.context import (
    CommandEntry,
    CommandTable,
    Context,
    GoBack,
    SeenRegisters,
    SourcedError,
)
from emu.debug.stops import SessionStop
from emu.errors import EmuError, InvalidCase

__all__ = ["Commands", "GoBack", "Quit", "SeenRegisters", "SourcedError"]


_LINE_MAX = 8192  # the path of a file takes 4096


class Quit(Exception):
    """The command ``quit``.

    :ivar said: what lines of a sourced file before it said
    """

    def __init__(self, said: Sequence[str] = ()) -> None:
        super().__init__()
        self.said = said


class Commands(Context):
    """Runs commands on one session."""

    def run(self, line: str) -> list[str]:
        """Run one line, and those of a file that it sources; a blank one and a comment do nothing.

        :raises InvalidCase: no such command, or it cannot be done
        :raises GoBack: it needs an earlier position
        :raises Quit: the command is ``quit``
        """
        self.seen.rest, self.seen.said, self.seen.sourced = [], [], 0
        return self._with_rest(lambda: self._run(line))

    def arrived(self, stop: SessionStop) -> list[str]:
        """Return the lines to print where a travel back has ended; it runs what is left of a sourced file.

        :raises GoBack: that needs an earlier position again
        """
        return self._with_rest(lambda: self.stopped(stop))

    def stopped(self, stop: SessionStop) -> list[str]:
        """Keep a stop as the last one, and return it as text: why, where, and what is displayed."""
        return [*super().stopped(stop), *self.displayed()]

    def displayed(self) -> list[str]:
        """Return the memory that is shown at each stop."""
        return memory.displayed(self)

    def followed_memory(self) -> dict[str, Any]:
        """Return the memory that the command ``memory`` follows, as data for JSON."""
        return dumping.followed_memory(self)

    def _with_rest(self, first: Callable[[], list[str]]) -> list[str]:
        # What `first` says, and then what lines of sourced files say, until one of them goes back.
        seen = self.seen
        seen.said += first()
        while seen.rest:
            place, line = seen.rest.pop(0)
            if not line or line.startswith("#"):
                continue
            seen.said.append(f"(emu) {line}")
            before = self.stop
            try:
                seen.said += self._run(line)
            except EmuError as error:
                raise SourcedError(f"{place}: {error}", seen.said) from None
            except Quit:
                raise Quit(seen.said) from None
            if self.stop is not before and self.stop.reason == "interrupt":
                seen.rest = []
        said, seen.said = seen.said, []
        return said

    def _run(self, line: str) -> list[str]:
        if len(line) > _LINE_MAX:
            raise InvalidCase(f"{line[:20]}...: a line has at most {_LINE_MAX} characters, not {len(line)}")
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            return []
        entry = _BY_NAME.get(word)
        if entry is None:
            near = [name for name in _BY_NAME if name.startswith(word)]
            hint = f"; did you mean {', '.join(near)}?" if near else "; try help"
            raise InvalidCase(f"{word}: no such command{hint}")
        return entry.run(self, rest.strip())

    @property
    def names(self) -> list[str]:
        """The commands, each by its first name."""
        return [entry.names[0] for entry in _ENTRIES]


_GENERAL = CommandTable()
_HELP_WIDTH, _HEAD_WIDTH = 70, 24  # columns: the screen's output has 70 of 120


@_GENERAL.command("help h", "[COMMAND]", "this")
def _help(_context: Context, text: str) -> list[str]:
    if text and text not in _BY_NAME:
        raise InvalidCase(f"{text}: no such command")
    return [row for entry in ([_BY_NAME[text]] if text else _ENTRIES) for row in _help_rows(entry)]


def _help_rows(entry: CommandEntry) -> list[str]:
    # Names and arguments, and beside them the purpose, which begins below them where they are long.
    head = f"{'|'.join(entry.names)} {entry.usage}".strip()
    first, *more = textwrap.wrap(entry.purpose, _HELP_WIDTH - _HEAD_WIDTH)
    rows = [head] if len(head) >= _HEAD_WIDTH else []
    rows.append(f"{'' if rows else head:<{_HEAD_WIDTH}}{first}")
    return [*rows, *(" " * _HEAD_WIDTH + line for line in more)]


@_GENERAL.command("quit q", "", "end")
def _quit(_context: Context, text: str) -> list[str]:
    raise Quit


_MODULES = (
    *(stepping, stopping, cpus, states, registers, examining, memory, dumping, lines, translating),
    *(editing, history),
    scripts,
)
_TABLES = (*(module.TABLE for module in _MODULES), _GENERAL)
_ENTRIES: list[CommandEntry] = [entry for table in _TABLES for entry in table.entries]
_BY_NAME: dict[str, CommandEntry] = {name: entry for entry in _ENTRIES for name in entry.names}
assert len(_BY_NAME) == sum(len(entry.names) for entry in _ENTRIES), "two commands have one name"
