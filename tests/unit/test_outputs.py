"""A file that cannot be written is refused before the run, by every option that names one."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from programs import run_emu

from emu.cli import cli
from emu.cli.outputs import Command, Output

READS = {"contract", "files", "imported", "resume", "system_map"}  # options that name a file to read
FOLDERS = {"exported", "folder", "tables"}  # that are made


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


def test_every_command_looks_at_its_files_first_and_at_options_that_are_given_twice() -> None:
    for name in cli.list_commands(click.Context(cli)):
        assert isinstance(cli.get_command(click.Context(cli), name), Command), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("boot", "v3", "--trace", "x", "--ftrace", "./x"), "--ftrace x: that is --trace too"),
        (("boot", "v3", "--junit", "x", "--perfetto", "x"), "--perfetto x: that is --junit too"),
        (("trace", "my.S", "-o", "my.S"), "--output my.S: that is SUBJECT too"),
        (("boot", "v3", "--assert", "p.toml", "--junit", "p.toml"), "--junit p.toml: that is --assert too"),
        (("lookup", "my.S", "--junit", "my.S"), "--junit my.S: that is SUBJECT too"),
        (("explore", "v3", "--html", "x", "--junit", "x"), "--junit x: that is --html too"),
        (("replay", "my.S", "--html", "my.S"), "--html my.S: that is CASE too"),
    ],
)
def test_two_results_in_one_file_or_one_over_what_is_read_are_refused(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    for name in ("my.S", "p.toml"):
        (tmp_path / name).write_text("nop\n")
    done = run_emu(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"emu: {said}\n")
    assert (tmp_path / "my.S").read_text() == "nop\n"


def test_streams_take_two_results() -> None:
    assert (
        run_emu("boot", "v3", "--cpus", "2", "--trace", "/dev/null", "--ftrace", "/dev/null").returncode == 0
    )


def test_a_picture_of_no_finding_is_not_drawn_and_said_so(tmp_path: Path) -> None:
    done = run_emu("explore", "v3", "--cpus", "2", "--html", "x.html", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "emu: --html x.html: nothing is found, so nothing is drawn\n"
    assert not (tmp_path / "x.html").exists()


def test_of_an_option_that_is_given_twice_it_is_said_that_the_last_one_counts() -> None:
    done = run_emu("boot", "v3", "--cpus", "2", "--kexec=v3", "--kexec", "v2", "--cpus=3")
    assert done.stderr.splitlines()[:2] == [
        "emu: --cpus: given 2 times; the last one counts",
        "emu: --kexec: given 2 times; the last one counts",
    ]
    assert "case: v3 topology=flat:3 bringup=parallel base=v3 kexec=v2\n" in done.stdout


def test_options_that_add_up_are_given_as_often_as_one_likes() -> None:
    more = ("--device", "pl011@0x9000000", "--device", "pl011@0x9001000")
    done = run_emu("boot", "v3", "--cpus", "2", *more, "--append", "maxcpus=2", "--append", "nr_cpus=2")
    assert "--" not in done.stderr
    assert "device=pl011@0x9000000,pl011@0x9001000" in done.stdout
