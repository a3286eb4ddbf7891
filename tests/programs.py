"""Run a program in a test: another one, whose stderr is shown when it fails, or emu in this process."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.cli import main

TERMINAL = ("COLUMNS", "FORCE_COLOR")  # of the environment: changes the text


def run_program(*command: str | Path, text: bool = True, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end and return what it printed; fail the test when its status is not 0.

    :param command: program and arguments
    :param text: stdout and stderr as str, else as bytes
    :param options: more of subprocess.run(): cwd, env, input, timeout in seconds
    """
    __tracebackhide__ = True
    done = subprocess.run(command, capture_output=True, check=False, text=text, **options)
    if done.returncode != 0:
        words = " ".join(map(str, command))
        said = done.stderr if text else done.stderr.decode(errors="replace")
        pytest.fail(f"{words}: status {done.returncode}\n{said}")
    return done


def run_emu(*arguments: str | Path, cwd: str | Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of emu in this process: what ``python -m emu`` would give, without the time of its start.

    For what a command says. Signals, standard input, other environments, worker processes and what is left of
    one command to the next need a process: run_program() or subprocess.

    :param arguments: the words behind ``emu``
    :param cwd: the directory that it runs in
    """
    words = [str(argument) for argument in arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGINT)}
    status: object = None
    try:
        with (
            _plain_environment(),
            _no_collection_callbacks(),
            contextlib.chdir(cwd or "."),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main(words)
            except SystemExit as end:
                status = end.code
            except Exception:  # as the interpreter ends
                traceback.print_exc()
                status = 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(status, int), f"emu {words} came back, with {status!r}"
    return subprocess.CompletedProcess(["emu", *words], status, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode()


@contextlib.contextmanager
def _plain_environment() -> Iterator[None]:
    # Without what changes the text of a terminal.
    ignored = {name: os.environ.pop(name) for name in TERMINAL if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(ignored)


@contextlib.contextmanager
def _no_collection_callbacks() -> Iterator[None]:
    # Python drops what one of them raises: a Ctrl-C that comes while hypothesis counts collections is lost.
    callbacks, gc.callbacks[:] = gc.callbacks[:], []
    try:
        yield
    finally:
        gc.callbacks[:] = callbacks


# In the place of my_scan: of examples/my_boot.S: a loop of which nobody can prove that it goes round, for
# 2^64 - 1 rounds (xorshift).
FOREVER = """forever:
        eor x5, x5, x5, lsl #13
        eor x5, x5, x5, lsr #7
        eor x5, x5, x5, lsl #17
        b forever
my_scan:"""
