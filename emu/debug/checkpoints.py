"""Going back in time: each checkpoint is a forked copy of this process that waits.

The state of a machine (engine, memory, generators of host tasks, firmware) is the state of this process. A
checkpoint is a fork of it that sleeps. The copy is exact, and costs only the pages written since: fork()
shares pages until they are written. To travel, the checkpoint forks again. Its copy becomes the debugger and
runs forward to the target position; the process that asked for the travel ends.

A root process remains for the whole time, so that the parent of the debugger has one process to wait for.
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

from emu.errors import EmuError

_LENGTH = struct.Struct("<I")
_DIE = b"\0\0\0\0"
_QUESTION = b"?"  # no pickle begins so
_INTERRUPT_S = 0.5  # a debugger that an interrupt has come to has ended by then, as a rule
_DIED = 70  # exit status when the debugger ended without reporting one (EX_SOFTWARE)
RECENT = 8  # newest checkpoints, which are all kept; older ones are thinned out
KEPT_MAX = 24


class Travelled(BaseException):
    """Raised out of :meth:`Checkpoints.save` in a process that has just become the debugger.

    :ivar position: position of the checkpoint, which is the current one
    :ivar target: position to run to
    :ivar payload: data from the process that asked for the travel
    :ivar fds: file descriptors from that process
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
        self._lifeline = lifeline  # a pipe: end of file when the root process has ended
        self._news = news
        self._flush = flush  # buffered output must be written before a fork, or it is written twice
        self._saved: list[_Saved] = []
        self.answer: Callable[[Any], Any] = lambda question: None  # what a copy says when it is asked

    @property
    def lifeline(self) -> int:
        """A file descriptor that becomes readable when the parent of the debugger has ended."""
        return self._lifeline

    @property
    def positions(self) -> list[int]:
        """The positions of the checkpoints, ascending."""
        return [saved.position for saved in self._saved]

    def before(self, position: int) -> int:
        """Return the position of the checkpoint from which a travel to ``position`` would start."""
        return max(saved.position for saved in self._saved if saved.position <= position)

    def save(self, position: int) -> None:
        """Make a checkpoint of this process.

        :param position: the current position
        :raises Travelled: in a copy of the checkpoint, when the debugger travels to it
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
        """Restore the nearest checkpoint at or before ``target``, and end this process."""
        best = max((saved for saved in self._saved if saved.position <= target), key=lambda s: s.position)
        data = pickle.dumps((target, payload, self.positions))
        for saved in self._saved:
            if saved.position > best.position:
                _tell(saved.control, _DIE)
        socket.send_fds(best.control, [_LENGTH.pack(len(data))], list(fds))
        best.control.sendall(data)
        self._flush()
        os._exit(0)

    def ask(self, position: int, question: Any) -> Any:
        """Return what a copy of the checkpoint at ``position`` answers (:attr:`answer`); all is pickled.

        :raises EmuError: it has ended without an answer
        """
        saved = next(saved for saved in self._saved if saved.position == position)
        data = _QUESTION + pickle.dumps(question)
        read, write = os.pipe()
        with os.fdopen(read, "rb") as answer:
            socket.send_fds(saved.control, [_LENGTH.pack(len(data))], [write])
            os.close(write)
            saved.control.sendall(data)
            found = answer.read()
        if not found:
            raise EmuError(f"the checkpoint at {position} has not answered")
        return pickle.loads(found)

    def close(self) -> None:
        """End all checkpoints."""
        for saved in self._saved:
            _tell(saved.control, _DIE)
            saved.control.close()
        self._saved.clear()

    def _thin(self) -> None:
        # Drop the older checkpoint whose neighbours are nearest to each other, relative to their distance
        # from the current position.
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
        # The body of a checkpoint. Only a copy of it leaves this function, by raising Travelled.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for the copies
        while True:
            ready, _, _ = select.select([control.fileno(), self._lifeline], [], [])
            if self._lifeline in ready:
                os._exit(0)
            head, fds, _, _ = socket.recv_fds(control, _LENGTH.size, 8)
            if len(head) < _LENGTH.size or head == _DIE:
                os._exit(0)
            data = _receive(control, _LENGTH.unpack(head)[0])
            if data.startswith(_QUESTION):
                if not os.fork():
                    self._answer(data.removeprefix(_QUESTION), fds[0])
                for fd in fds:
                    os.close(fd)
                continue
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
            _report(self._news, os.getpid())
            target, payload, kept = pickle.loads(data)
            # Others of before may have been thinned out since.
            self._saved = [saved for saved in self._saved if saved.position in kept]
            self._saved.append(_Saved(position, ours))
            raise Travelled(position, target, payload, fds)

    def _answer(self, data: bytes, fd: int) -> NoReturn:
        # The body of a copy that is asked.
        try:
            self._saved.clear()  # they are not its own
            with os.fdopen(fd, "wb") as out:
                out.write(pickle.dumps(self.answer(pickle.loads(data))))
        finally:
            _end(-1, 0, lambda: None)


def with_checkpoints(debugger: Callable[[Checkpoints], int], flush: Callable[[], None] = lambda: None) -> int:
    """Run ``debugger`` in a process that can travel; return the exit status of the last such process.

    ``debugger`` must catch :class:`Travelled` and go on at its target.

    :param flush: writes buffered output
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
    # The debugger decides what an interrupt means. One of a terminal comes to both; one that was sent to this
    # process alone is handed on.
    interrupts_read, interrupts_write = os.pipe()
    before = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: object) -> None:
        os.write(interrupts_write, b"i")

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, note)
    try:
        return _follow(child, news_read, interrupts_read)
    finally:
        signal.signal(signal.SIGINT, before)
        for fd in (lifeline_write, news_read, interrupts_read, interrupts_write):
            os.close(fd)


def _end(news: int, status: int, flush: Callable[[], None]) -> NoReturn:
    # Report the exit status, and end without the clean-up handlers of the parent.
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        with contextlib.suppress(Exception):
            sys.excepthook(type(error), error, error.__traceback__)
    flush()
    _report(news, -1 - status)
    os._exit(status)


def _follow(pid: int, news: int, interrupts: int) -> int:
    # Wait for the exit status of the process that is the debugger at its end.
    while True:
        watched = [news, interrupts]
        with contextlib.suppress(OSError, AttributeError):
            watched.append(os.pidfd_open(pid))
        ready, _, _ = select.select(watched, [], [])
        if ready == [interrupts]:
            os.read(interrupts, 1)
            ready, _, _ = select.select([news, *watched[2:]], [], [], _INTERRUPT_S)
            if not ready:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
        for fd in watched[2:]:
            os.close(fd)
        if not ready:
            continue
        if news not in ready:  # it has ended: with a report?
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
