"""Files that a command writes: refused before it runs, when what goes there would be lost, or is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from emu.cli.asked import spelt
from emu.errors import InvalidCase


class Output(click.Path):
    """A file that a command will write, looked at before anything runs: no result is made and then lost."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        :raises InvalidCase: nothing can be written there
        """
        path = Path(str(super().convert(value, param, ctx)))
        option = max(param.opts, key=len) if param is not None else "file"
        if value == "-":
            raise InvalidCase(f"{option} -: a file; that of standard output is /dev/stdout")
        there = True
        try:
            os.stat(path)  # Path.exists() hides errors, which ones depends on Python's release
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no name of a file"
            raise InvalidCase(f"{option} {value!r:.80}: {reason}") from None
        if not path.parent.is_dir():
            raise InvalidCase(f"{option} {path}: no such directory")
        if path.is_dir():
            raise InvalidCase(f"{option} {path}: a directory")
        if not os.access(path if there else path.parent, os.W_OK):
            raise InvalidCase(f"{option} {path}: it cannot be written")
        return path


def write_text(path: Path, text: str) -> None:
    """Write a file.

    :raises InvalidCase: it cannot be written
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


class Command(click.Command):
    """A command that says which of its options count, and loses no file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; say of an option that is given more than once that the last one counts."""
        words = [word.partition("=")[0] for word in args[: args.index("--") if "--" in args else None]]
        for option in self.params:
            if not isinstance(option, click.Option) or option.multiple or option.is_flag:
                continue
            times = sum(words.count(name) for name in option.opts)
            if times > 1:
                name = max(option.opts, key=len)
                click.echo(f"emu: {name}: given {times} times; the last one counts", err=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        :raises InvalidCase: two of them are one file, or a file that it reads
        """
        written: list[tuple[str, Path]] = []
        for parameter in self.params:
            path = ctx.params.get(str(parameter.name))
            if not isinstance(parameter.type, Output) or path is None or _is_a_stream(path):
                continue
            option = spelt(str(parameter.name))
            for other, same in (*written, *_named_files(self, ctx)):
                if same.resolve() == path.resolve():
                    raise InvalidCase(f"{option} {path}: that is {other} too")
            written.append((option, path))
        return super().invoke(ctx)


def _is_a_stream(path: Path) -> bool:
    # A terminal, a pipe or /dev/null, to which all can go.
    return path.exists() and not path.is_file()


def _named_files(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, Path]]:
    # The files that other parameters name, which the command may read.
    for parameter in command.params:
        if isinstance(parameter.type, Output):
            continue
        name = str(parameter.name)
        given = ctx.params.get(name)
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, (str, Path)) and _is_file(value):
                spelt = (
                    name.upper() if isinstance(parameter, click.Argument) else max(parameter.opts, key=len)
                )
                yield spelt, Path(value)


def _is_file(value: str | Path) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # text that is no name of a file
        return False
