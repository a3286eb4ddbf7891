"""Going back in time: copies of this process that wait, one for each checkpoint.

Everything that makes a machine (engine, memory, host tasks that stand in the middle of a function, what
firmware has noted) is this process. A checkpoint is a fork of it that sleeps: exact, whatever it holds, and
as large as what has changed since, because pages are shared until they are written. To travel, a checkpoint
forks once more; that copy is the debugger from then on and runs forward to where it was sent, and the process
that sent it ends.

A root process stays in front, so that whoever started the debugger has one process to wait for.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

_LENGTH = struct.Struct("<I")
_DIE = b"\0\0\0\0"
_DIED = 70  # exit status when the debugger itself ended without one
RECENT = 8  # checkpoints that are kept as they are; older ones thin out
KEPT_MAX = 24


class Travelled(BaseException):
    """Raised out of :meth:`Checkpoints.save` in a process that has just become the debugger.

    :ivar position: where it stands now: at its checkpoint
    :ivar target: where it was sent
    :ivar payload: what the sender gave along
    :ivar fds: file descriptors that came with it
    """

    def __init__(self, position: int, target: int, payload: Any, fds: list[int]) -> None:
        super().__init__(f"at {position}, bound for {target}")
        self.position = position
        self.target = target
        self.payload = payload
        self.fds = fds


@dataclass(slots=True)
class _Saved:
    position: int
    control: socket.socket


class Checkpoints:
    """The checkpoints of one debugger, made by :func:`with_checkpoints`."""

    def __init__(self, lifeline: int, news: int, flush: Callable[[], None]) -> None:
        self._lifeline = lifeline  # ends when the root does
        self._news = news
        self._flush = flush  # what was printed must be out before a copy is made
        self._saved: list[_Saved] = []

    @property
    def lifeline(self) -> int:
        """A file descriptor that can be read when whoever started the debugger has gone."""
        return self._lifeline

    @property
    def positions(self) -> list[int]:
        """Where there are checkpoints, ascending."""
        return [saved.position for saved in self._saved]

    def before(self, position: int) -> int:
        """Return the position of the checkpoint from which a travel to ``position`` would start."""
        return max(saved.position for saved in self._saved if saved.position <= position)

    def save(self, position: int) -> None:
        """Make a checkpoint here.

        :raises Travelled: in the copy, when it is sent somewhere: a stretch of time later, in its own process
        """
        if self._saved and self._saved[-1].position == position:
            return
        ours, theirs = socket.socketpair()
        self._flush()
        if os.fork():
            theirs.close()
            self._saved.append(_Saved(position, ours))
            self._thin()
            return
        ours.close()
        self._sleep(position, theirs)

    def travel(self, target: int, payload: Any, fds: Sequence[int] = ()) -> NoReturn:
        """Let the nearest checkpoint at or before ``target`` take over, and end this process."""
        best = max((saved for saved in self._saved if saved.position <= target), key=lambda s: s.position)
        data = pickle.dumps((target, payload))
        for saved in self._saved:
            if saved.position > best.position:
                _tell(saved.control, _DIE)
        socket.send_fds(best.control, [_LENGTH.pack(len(data))], list(fds))
        best.control.sendall(data)
        self._flush()
        os._exit(0)

    def close(self) -> None:
        """Let all checkpoints go."""
        for saved in self._saved:
            _tell(saved.control, _DIE)
            saved.control.close()
        self._saved.clear()

    def _thin(self) -> None:
        # Of the older ones the one goes whose neighbours are nearest to each other, seen from here.
        if len(self._saved) <= KEPT_MAX:
            return
        now = self._saved[-1].position + 1
        older = range(1, len(self._saved) - RECENT)

        def gap(index: int) -> float:
            before, after = self._saved[index - 1].position, self._saved[index + 1].position
            return (after - before) / (now - before)

        saved = self._saved.pop(min(older, key=gap))
        _tell(saved.control, _DIE)
        saved.control.close()

    def _sleep(self, position: int, control: socket.socket) -> None:
        # The copy. Comes back, as Travelled, only in a copy of the copy.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who take over
        while True:
            ready, _, _ = select.select([control.fileno(), self._lifeline], [], [])
            if self._lifeline in ready:
                os._exit(0)
            head, fds, _, _ = socket.recv_fds(control, _LENGTH.size, 8)
            if len(head) < _LENGTH.size or head == _DIE:
                os._exit(0)
            data = _receive(control, _LENGTH.unpack(head)[0])
            ours, theirs = socket.socketpair()
            if os.fork():
                ours.close()
                control.close()
                for fd in fds:
                    os.close(fd)
                control = theirs
                continue
            theirs.close()
            control.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._saved.append(_Saved(position, ours))
            _report(self._news, os.getpid())
            target, payload = pickle.loads(data)
            raise Travelled(position, target, payload, fds)


def with_checkpoints(debugger: Callable[[Checkpoints], int], flush: Callable[[], None] = lambda: None) -> int:
    """Run ``debugger`` in a process that can travel; return the exit status that the last one gave.

    ``debugger`` must let :class:`Travelled` through to a place that knows how to go on.

    :param flush: writes out what was printed and still waits in a buffer
    """
    lifeline_read, lifeline_write = os.pipe()
    news_read, news_write = os.pipe()
    flush()
    child = os.fork()
    if child == 0:
        os.close(lifeline_write)
        os.close(news_read)
        status = _DIED
        try:
            status = debugger(Checkpoints(lifeline_read, news_write, flush))
        finally:
            _end(news_write, status, flush)
    os.close(lifeline_read)
    os.close(news_write)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the debugger decides what an interrupt means
    try:
        return _follow(child, news_read)
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(lifeline_write)
        os.close(news_read)


def _end(news: int, status: int, flush: Callable[[], None]) -> NoReturn:
    # Say how it ended, and leave without the clean-up of whoever forked us.
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        with contextlib.suppress(Exception):
            sys.excepthook(type(error), error, error.__traceback__)
    flush()
    _report(news, -1 - status)
    os._exit(status)


def _follow(pid: int, news: int) -> int:
    # Wait for a status, from whichever process is the debugger by then.
    while True:
        watched = [news]
        with contextlib.suppress(OSError, AttributeError):
            watched.append(os.pidfd_open(pid))
        ready, _, _ = select.select(watched, [], [])
        if len(watched) > 1:
            os.close(watched[1])
        if news not in ready:  # it is gone: has it said anything?
            ready, _, _ = select.select([news], [], [], 1.0)
            if not ready:
                return _DIED
        data = os.read(news, _LENGTH.size)
        if len(data) < _LENGTH.size:
            return _DIED
        (value,) = struct.unpack("<i", data)
        if value < 0:
            return -1 - int(value)
        pid = value


def _report(news: int, value: int) -> None:
    with contextlib.suppress(OSError):
        os.write(news, struct.pack("<i", value))


def _tell(control: socket.socket, message: bytes) -> None:
    with contextlib.suppress(OSError):
        control.sendall(message)


def _receive(control: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            os._exit(0)
        data += part
    return bytes(data)
