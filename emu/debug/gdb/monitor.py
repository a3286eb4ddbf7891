"""``monitor`` commands: those of :mod:`emu.debug.commands`, for a gdb that caches what it has read."""

from __future__ import annotations

from dataclasses import dataclass

from emu.debug.commands import Commands
from emu.errors import InvalidCase

_ALSO = {"leave-loop": "leave", "schedule": "others", "position": "where"}
_FORWARDS = (
    "step",
    "s",
    "stepi",
    "si",
    "op",
    "o",
    "finish",
    "fin",
    "leave",
    "other",
    "continue",
    "c",
    "until",
)
_MOVING = frozenset((*_FORWARDS, "goto", "back", "b-", "back-op", "rcontinue", "rc", "source", "set"))
_STALE = "gdb still shows what it read before: maintenance flush register-cache"


@dataclass(frozen=True, slots=True)
class MonitorCommand:
    """One ``monitor`` line: the command as :class:`emu.debug.commands.Commands` has it."""

    word: str
    rest: str

    @property
    def moves(self) -> bool:
        """Whether the command can step the machine, take it back or change it."""
        return self.word in _MOVING

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.word} {self.rest}".strip()


def parse(text: str) -> MonitorCommand:
    """Parse a ``monitor`` line; an empty one means ``help``."""
    word, _, rest = text.strip().partition(" ")
    return MonitorCommand(_ALSO.get(word, word) or "help", rest.strip())


def run(commands: Commands, line: MonitorCommand) -> list[str]:
    """Run a command; return its output, as lines.

    :raises InvalidCase: no such command, or it cannot be done
    :raises emu.debug.commands.GoBack: it needs an earlier position
    """
    if line.word in ("quit", "q"):
        raise InvalidCase("quit: that is gdb's own; kill ends emu gdb, detach leaves it as it is")
    if line.word in ("delete", "d") and not line.rest:
        raise InvalidCase("delete: which one? its number (monitor info breakpoints)")
    said = commands.run(line.text)
    if line.word in ("help", "h") and not line.rest:
        said += ["", *(f"{name} is {other}" for name, other in _ALSO.items())]
    return [*said, _STALE] if line.moves else said


def arrived(said: list[str]) -> list[str]:
    """Return the output of a command that has gone back in time."""
    return [*said, _STALE]
