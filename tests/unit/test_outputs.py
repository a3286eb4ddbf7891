"""A file that cannot be written is refused before the run, by every option that names one."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from programs import run_emu

from emu.cli import cli
from emu.cli.options import Output

READS = {"contract", "files", "resume", "system_map"}  # options that name a file to read
FOLDERS = {"folder", "tables"}  # that are made


def options() -> list[tuple[str, str]]:
    """Every option of every command that writes a file."""
    found = []
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option.type, Output):
                found.append((name, max(option.opts, key=len)))
            elif isinstance(option.type, click.Path):
                assert option.name in READS | FOLDERS, f"{name}: {option.name}: an Output, or one of those"
    return found


@pytest.mark.parametrize(("command", "option"), options())
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    command: str, option: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    subject = ["replay", "v3"] if command == "replay" else [command]
    for name, reason in (
        ("nowhere/x", "no such directory"),
        (".", "a directory"),
        ("x" * 300, "File name too long"),
        ("file/x", "no such directory"),
    ):
        done = run_emu(*subject, option, name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"emu: {option} ")
        assert done.stderr.endswith(f": {reason}\n")


def test_there_are_such_options() -> None:
    assert {("explore", "--html"), ("boot", "--ftrace"), ("trace", "--output")} <= set(options())
