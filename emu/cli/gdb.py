"""``emu gdb``: a boot that gdb debugs."""

from __future__ import annotations

import gc
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from emu.cli.options import case_options, make_case, say_notes, start_option, stepped
from emu.cli.outputs import Command, Output
from emu.cli.progress import booting_primary
from emu.cli.status import status_of
from emu.debug.checkpoints import Checkpoints, with_checkpoints
from emu.debug.gdb.server import Server, listen
from emu.debug.gdb.symbols import script, symbol_file
from emu.debug.opening import session_of, target_of
from emu.errors import InvalidCase
from emu.host.build import Boot

_PATH = Output()


@click.command("gdb", cls=Command)
@case_options
@start_option
@click.option("--port", type=int, default=1234, show_default=True, help="TCP port; 0: any that is free.")
@click.option("--listen", "address", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--symbols", type=_PATH, metavar="FILE", help="Write the symbols for gdb there, and keep them.")
@click.option(
    "--script", "script_path", type=_PATH, metavar="FILE", help="Write the script for gdb there, and keep it."
)
@click.option("--print-script", is_flag=True, help="Print the script for gdb, and end. Needs --symbols.")
def command(
    start: str,
    port: int,
    address: str,
    symbols: Path | None,
    script_path: Path | None,
    print_script: bool,
    **options: Any,
) -> int:
    """Wait for gdb and let it debug the boot of SUBJECT: a thread for each CPU, and reverse execution.

    It runs until gdb kills it, or Ctrl-C. The second line that it prints starts gdb with the symbols at both
    addresses that code has, before and after the MMU is on.
    """
    if print_script and symbols is None:
        raise InvalidCase("--print-script: needs --symbols FILE, which the script loads")
    if print_script and script_path is not None:
        raise InvalidCase(f"--print-script and --script {script_path}: give one of them")
    case = stepped(make_case(**options))
    with booting_primary(case.subject):
        target = target_of(case, start)
    if isinstance(target, Boot):
        say_notes(target)
    subject = target.guest.subject
    with ExitStack() as stack:
        if symbols is None or script_path is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emu-gdb-")))
            symbols = symbols or folder / "symbols.elf"
            script_path = script_path or folder / "emu.gdb"
        symbols = symbols.absolute()
        _write(symbols, symbol_file(subject))
        if print_script:
            click.echo(script(subject, symbols, _join(address, port)), nl=False)
            return 0
        listener = stack.enter_context(listen(address, port))
        place = _join(address, listener.getsockname()[1])
        _write(script_path, script(subject, symbols, place).encode())
        click.echo(f"gdb: target remote {place}")
        click.echo(f"gdb: gdb-multiarch -x {script_path}")
        _flush()

        def debugger(checkpoints: Checkpoints) -> int:
            return status_of(Server(session_of(target, checkpoints), listener, checkpoints.lifeline).run)

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without removing the folder
        gc.freeze()  # what has been built stays, and the copies that checkpoints are keep sharing it
        return with_checkpoints(debugger, _flush)


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
