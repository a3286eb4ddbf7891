"""Standard input, output and error, also where whoever started us has closed them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, BinaryIO, TextIO, cast

from emu.errors import InvalidCase


class _Lossy:
    # Standard error: closed, or on a disk that is full.

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def open_streams() -> None:
    """See that no file that is opened later gets the number of a stream that is closed.

    What cannot be written to standard error is lost and changes no status; a result has to go somewhere.

    :raises InvalidCase: standard output is closed
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - up to the end
    if not isinstance(sys.stderr, _Lossy):
        sys.stderr = cast(TextIO, _Lossy(sys.stderr))
    if sys.stdout is None:
        raise InvalidCase(f"standard output: {os.strerror(errno.EBADF)}")


def standard_input() -> BinaryIO:
    """Return standard input.

    :raises InvalidCase: it is closed
    """
    if sys.stdin is None:
        raise InvalidCase(f"standard input: {os.strerror(errno.EBADF)}")
    return sys.stdin.buffer
