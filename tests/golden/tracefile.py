"""A trace file as text, so that two traces can be compared line by line.

Everything in the file is shown except how zlib compressed it. The format is that of docs/formats.md; no
code of the emulator is used.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator

_HOST_PC = 1 << 63 | 1 << 62
_HOST_PC_SPAN = 1 << 32
# MISUSE, UNSUPPORTED, LOG, OUTCOME, HELD, REPORT, NEXT_BOOT: the value is a string's number.
_WITH_STRING = frozenset({40, 41, 42, 43, 61, 63, 64})


def dump(data: bytes) -> Iterator[str]:
    """Yield the lines of a trace file: its case, then every chunk in order."""
    magic, version, length = struct.unpack_from("<8sHI", data)
    at = 14 + length
    yield f"{magic.decode()} version {version}: {data[14:at].decode()}"
    strings: list[str] = []
    while at < len(data):
        tag, length = struct.unpack_from("<BI", data, at)
        body = data[at + 5 : at + 5 + length]
        at += 5 + length
        if tag == 2:
            strings.append(body.decode())
        elif tag == 1:
            yield from _records(zlib.decompress(body), strings)
        else:
            yield _other(tag, body)


def _records(body: bytes, strings: list[str]) -> Iterator[str]:
    yield f"{len(body) // 28} records"
    for kind, size, actor, pc, pa, value in struct.iter_unpack("<BBHQQQ", body):
        where = f"{pc:x}"
        if _HOST_PC <= pc < _HOST_PC + _HOST_PC_SPAN:
            where = strings[pc - _HOST_PC]
        said = repr(strings[value]) if kind in _WITH_STRING else f"{value:x}"
        yield f"{kind} {size} {actor} {where} {pa:x} {said}"


def _other(tag: int, body: bytes) -> str:
    if tag == 3:  # groups of instructions, then their columns
        (groups,) = struct.unpack_from("<H", body)
        start = 2 + 6 * groups
        rows = list(struct.iter_unpack("<HI", body[2:start]))
        return f"instructions {rows} {_digest(zlib.decompress(body[start:]))}"
    if tag == 5:  # symbols
        return f"symbols {body[:32].hex()} {_digest(zlib.decompress(body[32:]))}"
    return f"chunk {tag} {body.hex()}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
