"""``emu step``: step a boot, backwards too, on a screen or from a script."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select
from typing import Any

import click

from emu.case import Case
from emu.cli.options import case_options, make_case, say_notes, start_option, stepped
from emu.cli.outputs import Command
from emu.cli.progress import booting_primary
from emu.cli.status import INTERRUPTED, status_of
from emu.cli.streams import standard_input
from emu.cli.whole import STATUS
from emu.debug.checkpoints import Checkpoints, Travelled, with_checkpoints
from emu.debug.commands import Commands, GoBack, Quit, SeenRegisters, SourcedError
from emu.debug.commands.scripts import naming, read_commands
from emu.debug.opening import session_of, target_of
from emu.debug.session import Session
from emu.debug.stops import SessionStop
from emu.errors import EmuError, InvalidCase
from emu.host.build import Boot
from emu.report.words import finding_words, wrap


@click.command("step", cls=Command)
@case_options
@start_option
@click.option(
    "--script", metavar="FILE", help="Run the commands in FILE (- is standard input) and print what they say."
)
def command(script: str | None, start: str, **options: Any) -> int:
    """Step the boot of SUBJECT, one instruction, operation or loop at a time, forwards and backwards.

    On a terminal it is a screen; with --script it is plain text. "help" lists the commands.
    """
    case = stepped(make_case(**options))
    if script is not None:
        name = "standard input" if script == "-" else script
        return run_script(case, read_script(script), name, start)
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidCase("step: not a terminal; give --script FILE, or --script - for standard input")
    from emu.debug.tui import run

    return run(case, start)


def read_script(name: str) -> list[str]:
    """Return the lines of a script, ``-`` being standard input.

    :raises InvalidCase: it cannot be read
    """
    with naming(f"--script {name}"):
        return read_commands(standard_input() if name == "-" else Path(name).open("rb"))


def run_script(case: Case, lines: list[str], name: str, start: str = "") -> int:
    """Run a script on the boot of a case; return the exit status.

    :param name: how messages call the script
    :param start: at the whole depth: where it begins
    """
    script = _StepScript(lines, name)
    return with_checkpoints(lambda checkpoints: script.debug(case, start, checkpoints), _flush)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


class _StepScript:
    """A script that runs; the number of the next line travels with it."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines = lines
        self.name = name
        self.next = 0
        self.interrupted = False

    def debug(self, case: Case, start: str, checkpoints: Checkpoints) -> int:
        """Run all of it, in this process and in those that take over."""
        # A pipe that is closed is an error here: the process that SIGPIPE ends could not report it.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        return status_of(lambda: self._debug(case, start, checkpoints))

    def _debug(self, case: Case, start: str, checkpoints: Checkpoints) -> int:
        with booting_primary(case.subject):
            target = target_of(case, start)
        if isinstance(target, Boot):
            say_notes(target)
        session = session_of(target, checkpoints)
        commands = Commands(session)
        # Nobody waits for it any more when the process that the user started has gone.
        session.interrupted = lambda: self.interrupted or bool(select([checkpoints.lifeline], [], [], 0)[0])
        rest = self._start(session, commands)
        while True:
            try:
                return next(rest)
            except Travelled as travelled:
                rest = self._arrive(session, commands, travelled)

    def _start(self, session: Session, commands: Commands) -> Iterator[int]:
        self._keep_interrupts()
        session.begin()
        yield self._run(session, commands)

    def _arrive(self, session: Session, commands: Commands, travelled: Travelled) -> Iterator[int]:
        self._keep_interrupts()
        payload: tuple[int, SeenRegisters, SessionStop] = session.arrive(travelled.target, travelled.payload)
        self.next, commands.seen, stop = payload
        yield self._run(session, commands, lambda: commands.arrived(stop))

    def _run(
        self, session: Session, commands: Commands, arrive: Callable[[], list[str]] | None = None
    ) -> int:
        # What there is to do where a travel has ended, then the lines that are left.
        while arrive is not None or self.next < len(self.lines):
            line = ""
            if arrive is None:
                line, self.next = self.lines[self.next].strip(), self.next + 1
                if not line or line.startswith("#"):
                    continue
                click.echo(f"(emu) {line}")
            try:
                for row in commands.run(line) if arrive is None else arrive():
                    click.echo(row)
                arrive = None
            except GoBack as back:
                session.go_back(back.position, (self.next, commands.seen, back.stop))
            except Quit as end:
                for row in end.said:
                    click.echo(row)
                break
            except EmuError as error:
                for row in error.said if isinstance(error, SourcedError) else ():
                    click.echo(row)
                if self.interrupted:
                    return _end_of_interrupted()
                click.echo(f"emu: {self.name}:{self.next}: {error}", err=True)
                return 2
            if session.interrupted():
                return _end_of_interrupted()
        return _verdict(session, commands)

    def _keep_interrupts(self) -> None:
        # The first one stops the command between two steps; the second ends the process at once.
        def keep(_number: int, _frame: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        signal.signal(signal.SIGINT, keep)


def _end_of_interrupted() -> int:
    click.echo("emu: interrupted", err=True)
    return INTERRUPTED


def _verdict(session: Session, commands: Commands) -> int:
    # A run that has come to its end is judged as that of emu boot; one in its midst is not.
    if not session.ended:
        return 0
    verdict = commands.view.findings()
    for found in verdict.findings:
        click.echo("\n".join(wrap(f"finding ({found.rule}): {finding_words(found)}", "  ")))
    count = len(verdict.findings)
    name = session.verdict_name(verdict)
    click.echo(f"{name}: {count} finding{'' if count == 1 else 's'}")
    click.echo(f"case: {session.boot.case.text()}")
    return STATUS[name]
