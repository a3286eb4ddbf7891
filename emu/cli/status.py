"""How a command ends: its exit status, and one line for what went wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable

import click

from emu.errors import EmuError

INTERRUPTED = 130
_PIPE_CLOSED = 141  # what a shell says of a process that SIGPIPE has ended


def status_of(run: Callable[[], int | None]) -> int:
    """Run a command; return its exit status, and say what ended it."""
    try:
        status = run()
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        click.echo(f"emu: {error.format_message()}", err=True)
        status = 2
    except EmuError as error:
        click.echo(f"emu: {error}", err=True)
        status = error.exit_status
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it may be sent twice
        click.echo("emu: interrupted", err=True)
        status = INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        status = _PIPE_CLOSED
    except (MemoryError, OSError) as error:
        click.echo(f"emu: {_of_system(error)}", err=True)
        _drop_output()
        status = 2
    return status or 0


def _of_system(error: MemoryError | OSError) -> str:
    # What the system refuses, in words; mmap() says so of memory by an OSError.
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return "out of memory: too little of it, or a limit (ulimit -v)"
    return f"{error.filename or 'standard output'}: {error.strerror}"


def _drop_output() -> None:
    # What is left in the buffer of standard output, which Python would try to write once more at its end.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
