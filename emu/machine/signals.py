"""Ctrl-C while a machine runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_kept() -> Iterator[list[int]]:
    """Note the first interrupt in the list; the second raises at once, and at the end the first does.

    An interrupt inside a hook of an engine would be lost, or leave an instruction half done. Only the main
    thread gets interrupts.
    """
    kept: list[int] = []

    def keep(number: int, _frame: object) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield kept
        return
    signal.signal(signal.SIGINT, keep)
    try:
        yield kept
    finally:
        signal.signal(signal.SIGINT, before)
    if kept:
        raise KeyboardInterrupt
