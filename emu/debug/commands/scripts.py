"""Commands of a file, and the line that says what is debugged."""

from __future__ import annotations

from pathlib import Path

from emu.debug.commands.arguments import check_given, check_no_more
from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase

_LINES_MAX = 10_000  # of all files that one command leads to

TABLE = CommandTable()


@TABLE.command("source", "FILE", "run the commands in a file, also such that go back")
def _source(context: Context, text: str) -> list[str]:
    name = check_given(text, "FILE")
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InvalidCase(f"source {name}: {reason}") from None
    seen = context.seen
    seen.sourced += len(lines)
    if seen.sourced > _LINES_MAX:
        raise InvalidCase(f"source {name}: more than {_LINES_MAX} lines; does a file source itself?")
    seen.rest[:0] = [(f"{name}:{number}", line.strip()) for number, line in enumerate(lines, 1)]
    return []


@TABLE.command("case", "", "the case, as --case takes it")
def _case(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return [context.session.boot.case.text()]
