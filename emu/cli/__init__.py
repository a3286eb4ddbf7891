"""The command line: the only place that prints. One file per command."""

from __future__ import annotations

import gc
import importlib
import signal
import sys

import click

from emu.cli.status import status_of
from emu.cli.streams import open_streams
from emu.version import VERSION

# Each is a module of this package, and what `emu --help` says of it without importing it.
_COMMANDS = {
    "boot": "Bring all CPUs up and check what each has when it arrives.",
    "compare": "Compare how long bring-ups take, in simulated time.",
    "diff": "Show where two runs part, for each CPU.",
    "explore": "Try every order in which CPUs can do what others see.",
    "fuzz": "Look for wrong answers of a lookup on all cores until stopped.",
    "gdb": "Let gdb debug a boot: a thread for each CPU, and backwards.",
    "info": "Show what was found in a subject or in a topology.",
    "litmus": "Run litmus tests in herd's format, on emulated PEs.",
    "lookup": "Test whether a lookup keeps what its contract promises.",
    "replay": "Run a schedule that explore printed again, and tell its story.",
    "step": "Step a boot, forwards and backwards.",
    "trace": "Record a boot.",
}


class _Lazy(click.Group):
    """Imports a command when it is asked for, so that each starts as fast as it can."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # What is imported stays; looking for garbage in it was 5 % of a start. Frozen once: where many
        # commands run in one process, what each leaves behind is garbage.
        is_first = not any(f"emu.cli.{name}" in sys.modules for name in _COMMANDS)
        gc.disable()
        command: click.Command = importlib.import_module(f"emu.cli.{cmd_name}").command
        if is_first:
            gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from emu.registry import not_one_of  # for refusals alone

            raise click.UsageError(f"{args[0]}: {not_one_of(args[0], (*_COMMANDS, '--help'))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(VERSION, prog_name="emu")
def cli() -> None:
    """Run the arm64 secondary-CPU boot path on emulated cores."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``emu``. Exit status: 0 holds, 1 a finding, 2 bad usage or input, 125 cannot be tested."""
    if hasattr(
        signal, "SIGPIPE"
    ):  # a reader that has gone ends us as it ends any filter, with no status of ours
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(status_of(lambda: _run(arguments)))


def _run(arguments: list[str] | None) -> int | None:
    open_streams()
    status: int | None = cli.main(arguments, prog_name="emu", standalone_mode=False)
    return status
