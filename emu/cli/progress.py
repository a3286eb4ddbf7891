"""What a command that takes longer than a second is at: a line on a terminal's standard error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread

import click

FIRST_SECONDS, NEXT_SECONDS = 1.0, 0.5


@contextmanager
def progress(words: Callable[[], str]) -> Iterator[None]:
    """While the body runs, show ``words()``, after a second and then repeatedly; the line is gone at the end.

    Nothing of it is shown, and nothing is asked, when standard error is no terminal.

    :param words: what is done and how much is left; it is called in another thread, so it only looks
    """
    if not sys.stderr.isatty():
        yield
        return
    over, shown = Event(), Event()

    def show() -> None:
        seconds = FIRST_SECONDS
        while not over.wait(seconds):
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{words()[:width]}", err=True, nl=False)
            shown.set()
            seconds = NEXT_SECONDS

    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if shown.is_set():
            click.echo("\r\x1b[K", err=True, nl=False)


def loading(subject: str, more: str = "") -> AbstractContextManager[None]:
    """Return what shows, while the body runs, that ``subject`` is loaded, of a path its last part.

    :param more: what is done besides
    """
    name = Path(subject).name
    return progress(lambda: f"loading {name}{more}")


def booting_primary(subject: str) -> AbstractContextManager[None]:
    """Return what shows, while the body runs, that a kernel is loaded and runs up to the take-over."""
    return loading(subject, "; the primary of a kernel boots")
