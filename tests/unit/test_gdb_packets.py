"""Packets of gdb's protocol: in pieces, escaped, broken."""

from __future__ import annotations

import random

import pytest

from emu.debug.gdb.packets import PACKET_MAX, Reader, StreamItem, checksum, encode


def items(*pieces: bytes) -> list[tuple[StreamItem, bytes]]:
    reader, found = Reader(), []
    for piece in pieces:
        reader.feed(piece)
        while (item := reader.next()) is not None:
            found.append(item)
    return found


@pytest.mark.parametrize("payload", [b"", b"g", b"qRcmd,68656c70", b"X0,4:\x00}#$*\x03", bytes(range(256))])
def test_what_is_encoded_is_read_again(payload: bytes) -> None:
    packet = encode(payload)
    assert items(packet) == [(StreamItem.PACKET, payload)]
    assert items(*(bytes([byte]) for byte in packet)) == [(StreamItem.PACKET, payload)]


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"$g#67", b"g"),
        (b"$#00", b""),
        (b"$g#68", None),
        (b"$g#67$g#67", None),
        (b"+$g#67", None),
        (b"$}\x03#80", None),
        (b"$g#6", None),
        (b"$", None),
        (b"", None),
    ],
)
def test_one_plain_packet_is_taken_at_once(data: bytes, payload: bytes | None) -> None:
    assert Reader().whole(data) == payload
    assert Reader(b"$").whole(data) is None


def test_the_checksum_is_the_sum_of_what_is_sent() -> None:
    assert encode(b"OK") == b"$OK#9a"
    assert encode(b"}") == b"$}]#da"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 258, 512, 65_536])
def test_the_checksum_is_the_sum_of_all_bytes_however_many_they_are(size: int) -> None:
    for payload in (b"\xff" * size, b"\x00" * size, random.Random(size).randbytes(size)):
        assert checksum(payload) == sum(payload) & 0xFF


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"+++$g#67", [(StreamItem.PACKET, b"g")]),
        (b"$g#68", [(StreamItem.BROKEN, b"")]),
        (b"$g#zz$g#67", [(StreamItem.BROKEN, b""), (StreamItem.PACKET, b"g")]),
        (b"$g#+7", [(StreamItem.BROKEN, b"")]),
        (b"$g$g#67", [(StreamItem.BROKEN, b""), (StreamItem.PACKET, b"g")]),
        (b"\x03", [(StreamItem.INTERRUPT, b"")]),
        (b"-", [(StreamItem.RESEND, b"")]),
        (b"no packet at all", []),
        (
            b"$m0,4#fd\x03$g#67",
            [(StreamItem.PACKET, b"m0,4"), (StreamItem.INTERRUPT, b""), (StreamItem.PACKET, b"g")],
        ),
        (b"$G#6", []),
    ],
)
def test_streams(stream: bytes, expected: list[tuple[StreamItem, bytes]]) -> None:
    assert items(stream) == expected


def test_a_packet_without_an_end_is_given_up() -> None:
    assert items(b"$" + b"a" * (PACKET_MAX + 100), b"$g#67") == [
        (StreamItem.BROKEN, b""),
        (StreamItem.PACKET, b"g"),
    ]


@pytest.mark.parametrize("before", [b"", b"+", b"$m0,", b"junk"])
def test_an_interrupt_is_seen_whatever_is_before_it(before: bytes) -> None:
    reader = Reader(before + b"\x03$g#67")
    assert reader.interrupted()
    assert not reader.interrupted()
    assert reader.rest == b"$g#67"


def test_no_stream_makes_the_reader_fail_or_keep_without_end() -> None:
    rng = random.Random(1)
    letters = b"$#}*+-\x03gGmM0123456789abcdefXqvZz,;:"
    for _ in range(2000):
        reader = Reader()
        for _ in range(rng.randrange(1, 6)):
            reader.feed(bytes(rng.choice(letters) for _ in range(rng.randrange(40))))
            for _ in range(1000):
                if reader.next() is None:
                    break
            else:
                pytest.fail(f"no end: {reader.rest!r}")
        assert len(reader.rest) < 400
