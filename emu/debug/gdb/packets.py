"""Packets of gdb's remote serial protocol: ``$payload#checksum``, out of a stream of bytes and into one.

Source: Debugging with GDB, appendix E (GDB Remote Serial Protocol), "Overview".
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from zlib import adler32

PACKET_MAX = 1 << 16  # bytes of a payload, escapes counted
_INTERRUPT = 0x03
_START, _END, _ESCAPE = ord("$"), ord("#"), ord("}")
_CHECKSUMS = {text.encode(): n for n in range(256) for text in (f"{n:02x}", f"{n:02X}")}
_TO_ESCAPE = b"$#}*"
_NEEDS_ESCAPE = re.compile(rb"[$#}*]")
_NOT_PLAIN = re.compile(rb"[$#}]")
_ADLER_BYTES = 256  # that many add up to less than 65521, the modulus of Adler-32
_SAME, _SAME_BYTES = 256, 64  # packets that clients send over and over, and bytes of one
_ESCAPED = re.compile(rb"}(.)", re.DOTALL)


class StreamItem(Enum):
    """Kinds of items in the stream from gdb."""

    PACKET = "packet"
    BROKEN = "broken"  # a packet whose checksum is wrong
    RESEND = "resend"  # a NAK
    INTERRUPT = "interrupt"


def checksum(payload: bytes) -> int:
    """Return the sum of all bytes, modulo 256."""
    # The low half of an Adler-32 that begins at 0 is such a sum, without an addition in Python for each byte.
    if len(payload) <= _ADLER_BYTES:
        return adler32(payload, 0) & 0xFF
    starts = range(0, len(payload), _ADLER_BYTES)
    return sum([adler32(payload[at : at + _ADLER_BYTES], 0) & 0xFF for at in starts]) & 0xFF


def _plain(data: bytes) -> bytes | None:
    # The payload, when these bytes are one packet with no escapes in it; else None.
    if data[:1] != b"$" or data[-3:-2] != b"#" or len(data) > PACKET_MAX:
        return None
    payload = data[1:-3]
    if _NOT_PLAIN.search(payload) or _CHECKSUMS.get(data[-2:]) != checksum(payload):
        return None
    return payload


_plain_again = lru_cache(_SAME)(_plain)


class Reader:
    """Splits a byte stream into packets. No input makes it raise."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    @property
    def rest(self) -> bytes:
        """The bytes that were fed and not yet returned as items."""
        return bytes(self._data)

    def whole(self, data: bytes) -> bytes | None:
        """Return the payload when ``data`` is one plain packet and nothing waits before it; else None.

        A fast path for the usual case; :meth:`feed` and :meth:`next` return the same payload.
        """
        if self._data:
            return None
        return _plain_again(data) if len(data) <= _SAME_BYTES else _plain(data)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data += data

    def next(self) -> tuple[StreamItem, bytes] | None:
        """Return the next item with its payload (empty unless a packet); None when more bytes are needed."""
        data = self._data
        while data:
            first = data[0]
            if first == _START:
                return self._packet()
            del data[0]
            if first == _INTERRUPT:
                return StreamItem.INTERRUPT, b""
            if first == ord("-"):
                return StreamItem.RESEND, b""
        return None

    def _packet(self) -> tuple[StreamItem, bytes] | None:
        data = self._data
        end = data.find(_END, 1)
        restart = data.find(_START, 1, end if end >= 0 else len(data))
        if restart > 0:  # a packet that was cut off: no payload holds a bare $
            del data[:restart]
            return StreamItem.BROKEN, b""
        if end < 0 or len(data) < end + 3:
            if (len(data) if end < 0 else end) > PACKET_MAX:
                data.clear()
                return StreamItem.BROKEN, b""
            return None
        payload = bytes(data[1:end])
        written = bytes(data[end + 1 : end + 3])
        del data[: end + 3]
        if len(payload) > PACKET_MAX or _CHECKSUMS.get(written) != checksum(payload):
            return StreamItem.BROKEN, b""
        if _ESCAPE in payload:
            payload = _ESCAPED.sub(lambda match: bytes([match[1][0] ^ 0x20]), payload)
        return StreamItem.PACKET, payload

    def interrupted(self) -> bool:
        """Return whether a 0x03 was received; drop it and all bytes before it.

        Called while the machine runs: a client that waits for a stop reply sends nothing else.
        """
        at = self._data.find(_INTERRUPT)
        del self._data[: at + 1]
        return at >= 0


def encode(payload: bytes) -> bytes:
    """Return the packet of a payload, escaped and with its checksum."""
    if len(payload.translate(None, _TO_ESCAPE)) != len(payload):
        payload = _NEEDS_ESCAPE.sub(lambda match: bytes([_ESCAPE, match[0][0] ^ 0x20]), payload)
    return b"$%b#%02x" % (payload, checksum(payload))
