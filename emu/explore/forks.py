"""Several parts of an exploration at a time: each in a copy of this process, as it is now.

What one part learns of the actors, another does not know, however many run at a time: so the results are the
same, byte for byte, with one process as with many.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")


def in_forks(
    make: Callable[[T], R],
    items: Sequence[T],
    jobs: int,
    stop: Callable[[], bool] = lambda: False,
    *,
    changes: bool = False,
) -> Iterator[R]:
    """Yield ``make`` of each item, in order; what it returns or raises is pickled. One item needs no copy.

    :param jobs: processes at a time, at least 1
    :param stop: once it says so none is begun; those that have begun come to their end
    :param changes: ``make`` changes this process, so that one item needs a copy too
    :raises Exception: what ``make`` has raised
    """
    if not items:
        return
    if len(items) == 1 and not changes and not stop():
        yield make(items[0])
        return
    from multiprocessing import get_context  # here, because it takes a while

    context = get_context("fork")
    begun: deque[Connection] = deque()
    left = deque(items)
    while left or begun:
        while left and len(begun) < jobs and not stop():
            ours, theirs = context.Pipe(duplex=False)
            context.Process(target=_make, args=(make, left.popleft(), theirs), daemon=True).start()
            theirs.close()
            begun.append(ours)
        if not begun:
            return
        try:
            result, raised = begun.popleft().recv()
        except EOFError:
            raise AssertionError("a process that had a part of an exploration was ended") from None
        if raised is not None:
            raise raised
        yield result


def _make(make: Callable[[T], R], item: T, answer: Connection) -> None:
    # The body of a process. Ctrl-C goes to all of them: the first one lets it come to its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer.send((make(item), None))
    except Exception as error:  # the process that waits for it raises it
        answer.send((None, error))
