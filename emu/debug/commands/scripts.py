"""Commands of a file, and the line that says what is debugged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from emu.debug.commands.arguments import check_given, check_no_more
from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase

_LINES_MAX = 10_000  # of all files that one command leads to

_BYTES_MAX = 16 << 20  # of a file: a device may have no end

TABLE = CommandTable()


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn what goes wrong when commands are read into bad input.

    :param what: is read
    :raises InvalidCase: it cannot be
    """
    try:
        yield
    except UnicodeDecodeError:
        raise InvalidCase(f"{what}: not UTF-8 text") from None
    except (ValueError, RuntimeError) as error:  # a NUL in its name; ~NAME where nobody has that name
        raise InvalidCase(f"{what}: {error}") from None
    except OSError as error:
        raise InvalidCase(f"{what}: {error.strerror}") from None


def read_commands(file: BinaryIO) -> list[str]:
    """Return the lines of a file of commands, and close it.

    :raises OSError: it cannot be read
    :raises ValueError: it is too long, or not UTF-8
    """
    with file:
        data = file.read(_BYTES_MAX + 1)
    if len(data) > _BYTES_MAX:
        raise ValueError(f"more than {_BYTES_MAX >> 20} MiB")
    return data.decode().splitlines()


@TABLE.command("source", "FILE", "run the commands in a file, also such that go back")
def _source(context: Context, text: str) -> list[str]:
    name = check_given(text, "FILE")
    with naming(f"source {name}"):
        lines = read_commands(Path(name).expanduser().open("rb"))
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
