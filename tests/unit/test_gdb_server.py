"""The server of gdb's protocol: who is served, how a run is interrupted, and that nothing kills it."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from travelling import watch

from emu.case import Case
from emu.debug.checkpoints import Checkpoints
from emu.debug.gdb.packets import Reader, StreamItem, encode
from emu.debug.gdb.server import Server, listen
from emu.debug.gdb.stub import Stub
from emu.debug.session import Session
from emu.errors import InvalidCase
from emu.host.build import build


def session(text: str = "v3 topology=flat:4", checkpoints: Checkpoints | None = None) -> Session:
    return Session(build(Case.parse(f"{text} grain=instruction")), checkpoints)


@contextmanager
def served(debugged: Session) -> Iterator[socket.socket]:
    """A client of a server in a thread, without time travel."""
    ours, theirs = socket.socketpair()
    server = Server(debugged, None, client=theirs)
    thread = threading.Thread(target=server.run)
    thread.start()
    ours.settimeout(60)
    try:
        yield ours
    finally:
        ours.close()
        thread.join(60)
        assert not thread.is_alive()


def receive(client: socket.socket, reader: Reader) -> tuple[StreamItem, bytes]:
    while (item := reader.next()) is None:
        data = client.recv(1 << 16)
        if not data:
            raise EOFError
        reader.feed(data)
    return item


def test_packets_are_acknowledged_until_that_is_switched_off() -> None:
    with served(session()) as client:
        for sent, answer in (
            (b"$qC#b4", b"+$QC1#c5"),
            (b"+$qC#b5", b"-"),
            (b"-", b"$QC1#c5"),
            (encode(b"QStartNoAckMode"), b"+$OK#9a"),
            (b"+$qC#b5$qC#b4", b"$QC1#c5"),
        ):
            client.sendall(sent)
            got = b""
            while len(got) < len(answer):
                got += client.recv(100)
            assert got == answer


def test_a_running_machine_is_interrupted_by_the_client() -> None:
    with served(session("bench/stepped.S topology=flat:2")) as client:
        reader = Reader()
        client.sendall(encode(b"QStartNoAckMode"))
        receive(client, reader)
        client.sendall(encode(b"vCont;c"))
        client.sendall(b"\x03")
        assert receive(client, reader)[1].startswith(b"T02thread:")


def test_a_client_that_goes_leaves_the_machine_and_the_next_one_finds_it() -> None:
    debugged = session()
    with served(debugged) as client:
        client.sendall(encode(b"Z0,40200038,4") + encode(b"vCont;c"))
        reader = Reader()
        while not receive(client, reader)[1].startswith(b"T05"):
            pass
    position = debugged.position
    assert position > 0
    assert debugged.settings.breakpoints == {}
    with served(debugged) as client:
        client.sendall(encode(b"?"))
        assert receive(client, Reader())[1].startswith(b"T05")
    assert debugged.position == position


_ASKED = [b"m40202100,8", b"m40202188,4", b"p20", b"p0", b"g", b"qfThreadInfo", b"qsThreadInfo", b"qC"]
_CHANGES = [b"Hg2", b"Hg1", b"vCont;s:2", b"s", b"M40202188,4:01020304", b"M40202188,4:05060708"]
_CHANGES += [b"P0=1122334455667788", b"P20=3800204000000000", b"X40202100,1:A", b"vCont;s:1;c"]
_CHANGES += [b"qRcmd," + b"set u32[0x40202188] = 9".hex().encode(), b"qRcmd," + b"step 2".hex().encode()]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_asked_again_is_answered_as_the_machine_is_now(seed: int) -> None:
    """The same packets, half of them questions that come again, to a server and to the stub alone."""
    drawn = random.Random(seed)
    packets = [b"Z0,40200038,4", b"vCont;c", b"z0,40200038,4"]
    packets += [drawn.choice(_ASKED if drawn.random() < 0.7 else _CHANGES) for _ in range(300)]
    alone = Stub(session())
    alone.answer(b"QStartNoAckMode")
    with served(session()) as client:
        reader = Reader()
        client.sendall(encode(b"QStartNoAckMode"))
        receive(client, reader)
        for packet in packets:
            client.sendall(encode(packet))
            for expected in alone.answer(packet):
                assert receive(client, reader)[1] == expected, packet


def read_to(client: socket.socket, end: bytes) -> None:
    """Read until what has come in ends so."""
    client.settimeout(60)
    got = b""
    while not got.endswith(end):
        more = client.recv(100)
        assert more, got
        got += more


def test_a_client_that_has_gone_behind_unread_data_is_no_reason_to_turn_the_next_away() -> None:
    """All three are there before the server looks for the first time."""
    listener = listen("127.0.0.1", 0)
    gone = socket.create_connection(listener.getsockname())
    server = Server(session(), listener, client=listener.accept()[0])
    gone.sendall(b"$qC#b4" * 2000)  # more than one read takes
    gone.close()
    client = socket.create_connection(listener.getsockname())
    client.sendall(encode(b"qC"))
    thread = threading.Thread(target=server.run)
    thread.start()
    read_to(client, b"$QC1#c5")
    client.sendall(b"+" + encode(b"k"))
    thread.join(30)
    assert not thread.is_alive()
    listener.close()


def test_a_second_client_is_turned_away_and_one_after_the_first_is_not() -> None:
    listener = listen("127.0.0.1", 0)
    server = Server(session(), listener)
    thread = threading.Thread(target=server.run)
    thread.start()
    first = socket.create_connection(listener.getsockname())
    first.sendall(encode(b"qC"))
    read_to(first, b"$QC1#c5")
    second = socket.create_connection(listener.getsockname())
    second.settimeout(10)
    assert second.recv(10) == b""
    first.sendall(b"+" + encode(b"qC"))
    read_to(first, b"$QC1#c5")
    first.close()
    third = socket.create_connection(listener.getsockname())
    third.sendall(encode(b"qC"))
    read_to(third, b"$QC1#c5")
    third.sendall(b"+" + encode(b"k"))
    thread.join(30)
    assert not thread.is_alive()
    listener.close()


@pytest.mark.parametrize(
    ("address", "port"), [("127.0.0.1", 65536), ("no.such.host.invalid", 0), ("127.0.0.1", -1)]
)
def test_where_it_cannot_listen_it_says_so(address: str, port: int) -> None:
    with pytest.raises(InvalidCase, match=r"--port|--listen"):
        listen(address, port)


_SEEDS = [
    b"?",
    b"qSupported:multiprocess+;swbreak+",
    b"qXfer:features:read:target.xml:0,1000",
    b"qXfer:threads:read::0,1000",
    b"qThreadExtraInfo,2",
    b"qfThreadInfo",
    b"qRcmd,63707573",
    b"qRcmd,676f746f20313030",
    b"qRcmd,77686f2d77726f7465206370755f626f6f745f646174615b325d2e7461736b",
    b"Hg2",
    b"Hcp1.3",
    b"T3",
    b"g",
    b"G" + b"00" * 268,
    b"p20",
    b"P20=3800204000000000",
    b"m40200000,40",
    b"mffff800080000000,8",
    b"M40202000,4:01020304",
    b"X40202000,4:\x01\x7d\x5d\x03z",
    b"Z0,40200038,4",
    b"z0,40200038,4",
    b"Z2,ffff800080002040,8",
    b"vCont;s:2;c",
    b"vCont;r40200000,40200100:2;c",
    b"vCont;c:3",
    b"vCont?",
    b"s",
    b"bs",
    b"bc",
    b"c",
]


def mutate(rng: random.Random) -> bytes:
    """A packet, or some, with something wrong: in the payload, or in what is around it."""
    payload = bytearray(rng.choice(_SEEDS))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(payload) + 1)
        match rng.randrange(5):
            case 0 if at < len(payload):
                payload[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(payload):
                del payload[at : at + rng.randrange(1, 5)]
            case 2:
                payload[at:at] = rng.choice([b";", b":", b",", b"-1", b"f" * 16, b"\xff", b"0", b"p1.", b"}"])
            case 3:
                payload += rng.choice(_SEEDS)[: rng.randrange(8)]
            case _ if at < len(payload):
                payload[at] = rng.randrange(256)
    stream = bytearray(encode(bytes(payload)))
    if rng.random() < 0.2:
        at = rng.randrange(len(stream))
        stream[at : at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
    return bytes(stream)


def test_nothing_that_comes_in_kills_the_server() -> None:
    rng, sent = random.Random(6), 0
    for _ in range(10):
        debugged = session("v3 topology=flat:3 instructions-max=20000")
        done = 0
        while done < 550:
            with served(debugged) as client:
                reader = Reader()
                try:
                    client.sendall(encode(b"QStartNoAckMode"))
                    while receive(client, reader) != (StreamItem.PACKET, b"OK"):
                        pass
                    while done < 550:
                        done += 1
                        # The acks stand in for a lost checksum, the interrupt ends a run, and the answer to
                        # the last packet shows that the server is there.
                        client.sendall(mutate(rng) + b"++\x03" + encode(b"qAttached"))
                        while receive(client, reader) != (StreamItem.PACKET, b"1"):
                            pass
                except (EOFError, ConnectionError):
                    pass  # it was a detach or a kill
        sent += done
    assert sent >= 5000


def test_the_answer_comes_from_the_past_through_the_same_socket() -> None:
    told = watch(_travelling_server)
    assert told[0] == "T05swbreak:;"
    assert told[1:4] == [True, True, True]


def _travelling_server(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
    listener = listen("127.0.0.1", 0)
    if os.fork():
        Server(session(checkpoints=checkpoints), listener, checkpoints.lifeline).run()
        return
    connection = socket.create_connection(listener.getsockname())
    listener.close()
    reader = Reader()

    def answer(packet: bytes) -> bytes:
        connection.sendall(encode(packet))
        while True:
            item, payload = receive(connection, reader)
            if item is StreamItem.PACKET and (payload[:1] != b"O" or payload == b"OK"):
                return payload

    answer(b"QStartNoAckMode")
    answer(b"Z0,40200048,4")  # find
    tell(answer(b"vCont;c")[:12].decode())
    answer(b"z0,40200048,4")
    seen = []
    for _ in range(20):
        seen.append(answer(b"vCont;s:2;c")[-80:] + answer(b"g"))
    back = [answer(b"bs")[-80:] + answer(b"g") for _ in range(19)]
    tell(back == seen[-2::-1])
    again = [answer(b"vCont;s:2;c")[-80:] + answer(b"g") for _ in range(19)]
    tell(again == seen[1:])
    tell(answer(b"bc").startswith(b"T05replaylog:begin;"))
    connection.sendall(encode(b"k"))
    os._exit(0)
