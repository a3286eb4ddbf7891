"""Standard input, output and error, also where whoever started us has closed them."""

from __future__ import annotations

import errno
import os
import sys
from typing import BinaryIO

from emu.errors import InvalidCase


def open_streams() -> None:
    """See that no file that is opened later gets the number of a stream that is closed.

    What goes to standard error is lost then, and the exit status has to do; a result has to go somewhere.

    :raises InvalidCase: standard output is closed
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - up to the end
    if sys.stdout is None:
        raise InvalidCase(f"standard output: {os.strerror(errno.EBADF)}")


def standard_input() -> BinaryIO:
    """Return standard input.

    :raises InvalidCase: it is closed
    """
    if sys.stdin is None:
        raise InvalidCase(f"standard input: {os.strerror(errno.EBADF)}")
    return sys.stdin.buffer
