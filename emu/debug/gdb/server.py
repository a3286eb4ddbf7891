"""The connection: one listening socket, one client at a time, in the process that has the machine.

No input changes the machine but through packets. When a client disconnects, the machine keeps its state for
the next one. A second client is refused. When an answer is that of an earlier position, a checkpoint takes
over, with the client's socket and its :class:`emu.debug.gdb.stub.ConnectionState`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from dataclasses import dataclass
from typing import Any

from emu.debug.checkpoints import Travelled
from emu.debug.gdb.packets import Reader, StreamItem, encode
from emu.debug.gdb.stub import ConnectionState, Stub, TravelNeeded
from emu.debug.session import Session
from emu.errors import InvalidCase

_RECEIVE_BYTES = 1 << 16
# A client that has gone is no reason to end, whatever SIGPIPE does to this process.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
# Kinds of packets that change nothing, and those of them whose answers are kept.
_QUESTIONS, _READS = b"mpgqT", b"mpg"
_KEPT, _KEPT_BYTES = 64, 64  # answers, and bytes of one
_QUICK = 64  # packets in a row that the client alone is waited for
_PAUSE = struct.pack("ll", 0, 10_000)  # the s and us after which it is not any more
_RESENDS_MAX = 8  # in a row; who asks more often is no gdb


@dataclass(slots=True)
class _Luggage:
    # What goes along to the process that takes over, beside the client's socket.
    state: ConnectionState
    unread: bytes
    what: Any


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    :raises InvalidCase: the address or the port cannot be had
    """
    if not 0 <= port < 1 << 16:
        raise InvalidCase(f"--port {port}: 0..65535")
    try:
        family, kind, proto, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(4)
    except OSError as error:
        raise InvalidCase(f"--listen {address} --port {port}: {error.strerror or error}") from None
    return listener


class Server:
    """Serves one session.

    :param listener: where clients come from; None: there is only the first
    :param lifeline: a file descriptor that becomes readable when the server must end; -1: none
    :param client: the first client, which has come already
    """

    def __init__(
        self,
        session: Session,
        listener: socket.socket | None,
        lifeline: int = -1,
        client: socket.socket | None = None,
    ) -> None:
        self._session = session
        self._listener = listener
        self._lifeline = lifeline
        self._done = False
        self._stub = Stub(session, self._end)
        self._reader = Reader()
        self._client: socket.socket | None = None
        self._sent = b""
        self._quick = 0  # packets until others than the client are looked at again
        self._kept: dict[bytes, bytes] = {}  # what was sent for reads, as long as nothing has changed
        self._whole: bytes | None = None  # a packet that has come in just now, and nothing beside it
        self._resends = 0
        self._poll = select.poll()
        if listener is not None:
            self._poll.register(listener, select.POLLIN)
        if lifeline >= 0:
            self._poll.register(lifeline, select.POLLIN)
        if client is not None:
            self._take(client)
        session.interrupted = self._interrupted

    def run(self) -> None:
        """Serve until a client kills, or the lifeline ends; without a listener, until the client goes."""
        travelled: Travelled | None = None
        begun = False
        while True:
            try:
                if travelled is not None:
                    back, travelled = travelled, None
                    self._arrive(back)
                elif not begun:
                    begun = True
                    self._session.begin()
                self._serve()
                return
            except Travelled as back:
                travelled, begun = back, True

    # -- the loop ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._done and (self._client is not None or self._listener is not None):
                item = self._reader.next()
                if item is None:
                    # While packets follow each other the client alone is waited for, others now and then.
                    self._quick -= 1
                    if self._client is None or self._quick < 0 or not self._receive():
                        self._wait(-1)
                        self._quick = _QUICK
                    ready, self._whole = self._whole, None
                    if ready is not None:
                        self._answer(ready)
                    continue
                what, payload = item
                acks = not self._stub.state.no_ack
                if what is StreamItem.PACKET:
                    if acks:
                        self._send(b"+")
                    self._answer(payload)
                elif what is StreamItem.BROKEN and acks:
                    self._send(b"-")
                elif what is StreamItem.RESEND and acks:
                    self._resends += 1
                    if self._resends <= _RESENDS_MAX:
                        self._send(self._sent)
        finally:
            if self._done:
                self._drop()

    def _answer(self, payload: bytes) -> None:
        # gdb asks the same again and again between two steps: what has not changed is not looked up anew.
        kept = self._kept.get(payload)
        if kept is not None:
            self._put(kept)
            return
        try:
            answers = self._stub.answer(payload)
        except TravelNeeded as journey:
            self._travel(journey)
            return
        self._reply(answers)
        kind = payload[:1]
        if kind in _READS and len(self._sent) <= _KEPT_BYTES:
            if len(self._kept) < _KEPT:
                self._kept[payload] = self._sent
        elif self._kept and (kind not in _QUESTIONS or payload.startswith(b"qRcmd")):
            self._kept.clear()
        if kind == b"D":
            self._drop()

    def _reply(self, answers: list[bytes]) -> None:
        self._put(encode(answers[0]) if len(answers) == 1 else b"".join([encode(each) for each in answers]))

    def _put(self, data: bytes) -> None:
        self._resends = 0
        self._sent = data
        self._send(data)

    def _wait(self, milliseconds: int) -> None:
        # Take what has come in, from wherever.
        for fd, _ in self._poll.poll(milliseconds):
            if self._client is not None and fd == self._client.fileno():
                self._receive()
            elif fd == self._lifeline:
                self._done = True
            elif self._listener is not None and fd == self._listener.fileno():
                self._accept()

    def _receive(self) -> bool:
        # Take what the client has sent, or sends within _PAUSE; False: nothing. It may be gone then.
        assert self._client is not None
        try:
            data = self._client.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._drop()
            return True
        self._whole = self._reader.whole(data) if self._stub.state.no_ack else None
        if self._whole is None:
            self._reader.feed(data)
        return True

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        while self._client is not None and self._whole is None:
            if not select.select([self._client], [], [], 0)[0]:
                break
            self._receive()  # it may have gone just now, behind what it had sent
        if self._client is None:
            self._take(client)
        else:
            client.close()

    def _take(self, client: socket.socket) -> None:
        client.setblocking(True)
        with contextlib.suppress(OSError):  # it need not be TCP
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PAUSE)
            self._quick = _QUICK
        self._client = client
        self._poll.register(client, select.POLLIN)

    def _drop(self) -> None:
        # The client is gone. Checkpoints may hold its socket too, so that closing it would not end it.
        client, self._client = self._client, None
        if client is None:
            return
        self._poll.unregister(client)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        self._reader = Reader()
        self._whole = None
        self._kept.clear()
        self._stub.gone()

    def _send(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            self._client.sendall(data, _NO_SIGNAL)
        except OSError:
            self._drop()

    def _interrupted(self) -> bool:
        # Asked now and then while the machine runs. A client that goes interrupts it too.
        before = self._client
        self._wait(0)
        if self._whole is not None:  # a packet although the last one has no answer yet: it must wait
            self._reader.feed(encode(self._whole))
            self._whole = None
        return self._done or self._client is not before or self._reader.interrupted()

    def _end(self) -> None:
        self._done = True

    # -- through time -----------------------------------------------------------------------------

    def _travel(self, journey: TravelNeeded) -> None:
        if not self._session.can_go_back:
            self._reply([b"E.this server does not go back"])
            return
        luggage = _Luggage(self._stub.state, self._reader.rest, journey.what)
        fds = () if self._client is None else (self._client.fileno(),)
        self._session.go_back(journey.position, luggage, fds)

    def _arrive(self, back: Travelled) -> None:
        # The process that takes over: what it has of the connection is from when it was copied.
        self._kept.clear()
        if self._client is not None:
            self._poll.unregister(self._client)
            self._client.close()
            self._client = None
        luggage: _Luggage = self._session.arrive(back.target, back.payload)
        self._stub.state = luggage.state
        self._reader = Reader(luggage.unread)
        if back.fds:
            self._take(socket.socket(fileno=back.fds[0]))
        try:
            answers = self._stub.arrived(luggage.what)
        except TravelNeeded as journey:
            self._travel(journey)
            return
        self._reply(answers)
