"""A debugger in a process of its own: ``python -m emu.debug.remote FD``, JSON lines both ways on a socket.

A screen must not fork itself, so the machine and its checkpoints live in a child process. The socket survives
travels: the checkpoint that takes over has inherited it.

First comes ``{"case": TEXT, "from": SYMBOL}``; the answer is ``{"ready": TEXT, "commands": [...]}`` or
``{"failed": TEXT, "status": N}``. Then each ``{"run": COMMAND, "before": N, "after": N, "operations": N}``
is answered by ``{"lines": [...], "error": TEXT or null, "stop": {...}, "changed": [...], "view": {...}}``,
the view being :meth:`emu.debug.view.View.snapshot`. Anything that comes while a command runs interrupts it; a
line without ``run`` does nothing more. The end of the stream ends the debugger.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from emu.case import Case
from emu.debug.checkpoints import Checkpoints, Travelled, with_checkpoints
from emu.debug.commands import Commands, GoBack, Quit, SeenRegisters, SourcedError
from emu.debug.opening import session_of, target_of
from emu.debug.stops import SessionStop
from emu.errors import EmuError

_CHUNK = 1 << 16


class _Closed(Exception):
    """The other side has gone."""


class _Wire:
    """JSON lines on a socket. What was read too far is kept, and travels."""

    def __init__(self, peer: socket.socket, rest: bytes = b"") -> None:
        self.peer = peer
        self.rest = rest

    def send(self, message: dict[str, Any]) -> None:
        """Send one line."""
        try:
            self.peer.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise _Closed from None

    def receive(self) -> dict[str, Any]:
        """Wait for one line."""
        while b"\n" not in self.rest:
            try:
                part = self.peer.recv(_CHUNK)
            except OSError:
                part = b""
            if not part:
                raise _Closed
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def has_more(self) -> bool:
        """Tell whether something has come."""
        return bool(self.rest) or bool(select.select([self.peer], [], [], 0)[0])


class Debugger:
    """The screen's side: starts the process, sends it requests, and can interrupt it."""

    def __init__(self, case: Case, start: str = "") -> None:
        ours, theirs = socket.socketpair()
        self._wire = _Wire(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "emu.debug.remote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt on the terminal is for the screen to deal with
            )
        self.commands: list[str] = []
        answer = self._ask({"case": case.text(), "from": start})
        if "failed" in answer:
            self.close()
            error = EmuError(answer["failed"])
            error.exit_status = answer["status"]
            raise error
        self.case: str = answer["ready"]
        self.commands = answer["commands"]

    def run(self, command: str, before: int, after: int, operations: int) -> dict[str, Any]:
        """Run a command; blocks until it is done.

        :param before: instructions to show before the PC; ``after``: behind it
        :param operations: how many of the last operations to show
        :raises EmuError: the process has gone
        """
        return self._ask({"run": command, "before": before, "after": after, "operations": operations})

    def interrupt(self) -> None:
        """Let a command that runs stop; may be called from another thread."""
        with contextlib.suppress(_Closed):
            self._wire.send({})

    def close(self) -> int:
        """End the process; return its exit status."""
        self._wire.peer.close()
        return self._process.wait()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._wire.send(message)
            return self._wire.receive()
        except _Closed:
            raise EmuError("emu step: the process of the machine has gone") from None


class _Worker:
    """The side of the machine."""

    def __init__(self, wire: _Wire) -> None:
        self.wire = wire

    def debug(self, checkpoints: Checkpoints) -> int:
        """Answer until the other side goes, in this process and in those that take over."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            asked = self.wire.receive()
            session = session_of(target_of(Case.parse(asked["case"]), asked["from"]), checkpoints)
        except EmuError as error:
            self.wire.send({"failed": str(error), "status": error.exit_status})
            return error.exit_status
        session.interrupted = self.wire.has_more
        commands = Commands(session)
        first = True
        travelled: Travelled | None = None
        while True:
            try:
                if first:
                    first = False
                    session.begin()
                    self.wire.send({"ready": session.boot.case.text(), "commands": commands.names})
                elif travelled is not None:
                    here, travelled = travelled, None
                    self._arrive(commands, here)
                self._serve(commands)
            except Travelled as journey:
                travelled = journey
            except _Closed:
                checkpoints.close()
                return 0

    def _arrive(self, commands: Commands, travelled: Travelled) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        payload: tuple[bytes, dict[str, Any], SeenRegisters, SessionStop] = commands.session.arrive(
            travelled.target, travelled.payload
        )
        self.wire.rest, request, commands.seen, stop = payload
        self._do(commands, request, lambda: commands.arrived(stop))

    def _serve(self, commands: Commands) -> None:
        while True:
            request = self.wire.receive()
            if "run" not in request:
                continue
            self._do(commands, request, partial(commands.run, request["run"]))

    def _do(self, commands: Commands, request: dict[str, Any], act: Callable[[], list[str]]) -> None:
        lines: list[str] = []
        error = None
        try:
            lines = act()
        except GoBack as back:
            payload = (self.wire.rest, request, commands.seen, back.stop)
            commands.session.go_back(back.position, payload)
        except Quit:
            raise _Closed from None
        except EmuError as wrong:
            error = str(wrong)
            lines = wrong.said if isinstance(wrong, SourcedError) else []
        self._answer(commands, request, lines, error)

    def _answer(
        self, commands: Commands, request: dict[str, Any], lines: list[str], error: str | None
    ) -> None:
        cpu = commands.session.settings.cpu
        view = commands.view.snapshot(request["before"], request["after"], request["operations"])
        view["displayed"] = commands.displayed()
        view["memory"] = commands.followed_memory()
        marked = sorted(commands.changed(cpu)) if view["registers"] else []
        stop = {**asdict(commands.stop), "why": commands.why(commands.stop)}
        answer = {"lines": lines, "error": error, "stop": stop, "changed": marked, "view": view}
        self.wire.send(answer)


def main() -> int:
    """Serve the socket whose descriptor is the only argument."""
    peer = socket.socket(fileno=int(sys.argv[1]))
    return with_checkpoints(lambda checkpoints: _Worker(_Wire(peer)).debug(checkpoints))


if __name__ == "__main__":
    sys.exit(main())
