"""A client of gdb's remote protocol that does nothing but step.

``python -m bench.gdb_client PORT SERVER PC STEPS`` goes to PC first, and prints two numbers: steps in a
second of CPU time, its own and that of the server, which leads the session SERVER, and of its time alone.

``python -m bench.gdb_client PORT back POSITION STEPS`` goes to POSITION, and prints the ms of each of STEPS
steps of the second CPU back from there.
"""

from __future__ import annotations

import json
import socket
import sys
import time

from bench.cpu_time import session_seconds

_WARM = 500


class Client:
    """One connection; packets are acknowledged until the server takes the no-ack mode."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._ack = b""
        self._acks = b"+"
        self.ask(b"qSupported:swbreak+;hwbreak+;vContSupported+")
        if self.ask(b"QStartNoAckMode") == b"OK":
            self._socket.sendall(b"+")
            self._acks = self._ack = b""

    def ask(self, payload: bytes) -> bytes:
        """Send a packet; return the payload that answers it, console output left out."""
        self._socket.sendall(b"%b$%b#%02x" % (self._ack, payload, sum(payload) & 0xFF))
        while True:
            start = self._data.find(b"$")
            end = self._data.find(b"#", start + 1) if start >= 0 else -1
            if end < 0 or len(self._data) < end + 3:
                more = self._socket.recv(65536)
                if not more:
                    raise EOFError("the server has gone")
                self._data += more
                continue
            answer, self._data = self._data[start + 1 : end], self._data[end + 3 :]
            self._ack = self._acks
            if answer[:1] != b"O" or answer == b"OK":
                return answer


def measure(port: int, server: int, pc: int, steps: int) -> tuple[float, float]:
    """Return steps a CPU second of one connection, from ``pc`` on: of both ends, and of the server alone."""
    client = Client(port)
    for payload in (b"Z0,%x,4" % pc, b"vCont;c", b"z0,%x,4" % pc):
        client.ask(payload)
    for _ in range(_WARM):
        client.ask(b"s")
    begun, ours = session_seconds(server), time.process_time()
    for _ in range(steps):
        answer = client.ask(b"s")
    theirs, ours = session_seconds(server) - begun, time.process_time() - ours
    assert answer.startswith(b"T05"), answer
    return steps / (theirs + ours), steps / theirs


def back(port: int, position: int, steps: int) -> list[float]:
    """Return the ms of each of so many steps of CPU1 back from ``position``."""
    client = Client(port)
    for payload in (b"qRcmd," + f"goto {position}".encode().hex().encode(), b"Hg2", b"Hc2"):
        client.ask(payload)
    found = []
    for _ in range(steps):
        start = time.perf_counter()
        answer = client.ask(b"bs")
        found.append(1000 * (time.perf_counter() - start))
        assert answer.startswith(b"T05"), answer
    return found


if __name__ == "__main__":
    if sys.argv[2] == "back":
        print(json.dumps(back(int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        print(json.dumps(measure(*(int(argument) for argument in sys.argv[1:5]))))
