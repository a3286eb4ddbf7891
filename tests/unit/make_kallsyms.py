"""Images with kallsyms in every layout that a kernel has had since Linux 5.0, each part under control."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from make_kernel import BANNER, BASE_VA, header

TEXT_AT, POINTERS_AT, TABLES_AT = 0x1_0000, 0x2_0000, 0x2_4000
IMAGE_SIZE = 0x6_0000
FUNCTIONS = 900


@dataclass(frozen=True)
class Layout:
    """How kallsyms lie in an image; the fields' defaults are those of Linux 7.3.

    ``addresses`` is "place" (from the entry's own place), "behind" or "before" (from kallsyms_relative_base,
    behind the tokens or before the names). ``base_left_out``: that is zero, for a relocation to fill in.
    ``seqs``: kallsyms_seqs_of_names lies between markers and tokens.
    """

    addresses: str = "place"
    align: int = 4
    base_left_out: bool = False
    seqs: bool = False


LAYOUTS = {
    "5.10": Layout("before", 8, base_left_out=True),
    "5.10, not relocatable": Layout("before", 8),
    "6.2": Layout("before", 8, base_left_out=True, seqs=True),
    "6.12": Layout("behind", 8, base_left_out=True),
    "6.18": Layout("behind", 8),
    "7.0": Layout(align=8),
    "7.3": Layout(),
}


def functions(seed: int = 0, count: int = FUNCTIONS) -> list[tuple[int, str, str]]:
    """Return (offset in the image, type letter, name) of a kernel's functions; some share an address."""
    draw = random.Random(seed)
    words = [
        "cpu",
        "secondary",
        "init",
        "hotplug",
        "irq",
        "gic_v3",
        "per_cpu",
        "x86",
        "el2",
        "Kernel",
        "a4j9",
        "q70",
    ]
    found, at = [(0, "T", "_text"), (TEXT_AT, "T", "_stext")], TEXT_AT
    for number in range(count):
        name = "_".join(draw.choice(words) for _ in range(draw.randint(1, 5))) + f"_{number}"
        found.append((at, draw.choice("tTwW"), name))
        if draw.random() < 0.1:
            found.append((at, "t", "__pi_" + name))
        at += draw.randrange(12, 52, 4)
    return [*found, (at, "T", "_etext"), (IMAGE_SIZE, "B", "_end")]


def tokens_of(names: Sequence[str]) -> list[bytes]:
    """Return 256 tokens: every character of ``names`` for itself, then their most frequent pairs."""
    used = {character for name in names for character in name}
    tokens = [bytes([code]) if chr(code) in used else b"" for code in range(256)]
    pairs: dict[str, int] = {}
    for name in names:
        for at in range(len(name) - 1):
            pairs[name[at : at + 2]] = pairs.get(name[at : at + 2], 0) + 1
    frequent = sorted(pairs, key=lambda pair: (-pairs[pair], pair))
    for code in range(256):
        if not tokens[code] and frequent:
            tokens[code] = frequent.pop(0).encode()
    return tokens


def _compressed(name: str, codes: dict[bytes, int]) -> bytes:
    out, at = bytearray(), 0
    while at < len(name):
        size = 2 if name[at : at + 2].encode() in codes and at + 1 < len(name) else 1
        out.append(codes[name[at : at + size].encode()])
        at += size
    length = len(out)
    return (bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])) + bytes(out)


def tables(
    symbols: Sequence[tuple[int, str, str]],
    layout: Layout,
    at: int,
    base_va: int,
    parts: dict[str, int] | None = None,
) -> bytes:
    """Return kallsyms of ``symbols`` to be put at offset ``at`` (8-byte aligned) of an image.

    :param parts: gets the offset in the image of each part
    """
    parts = {} if parts is None else parts
    rows = [letter + name for _, letter, name in symbols]
    tokens = tokens_of(rows)
    codes = {token: code for code, token in reversed(list(enumerate(tokens))) if token}
    offsets = [offset for offset, _, _ in symbols]
    out = bytearray()

    def align(to: int = layout.align) -> None:
        out.extend(bytes(-len(out) % to))

    def addresses() -> None:
        if layout.addresses == "place":
            for offset in offsets:
                out.extend(struct.pack("<i", offset - (at + len(out))))
            return
        out.extend(struct.pack(f"<{len(offsets)}I", *(offset - offsets[0] for offset in offsets)))
        align(8)
        out.extend(struct.pack("<Q", 0 if layout.base_left_out else base_va + offsets[0]))

    if layout.addresses == "before":
        addresses()
    parts["num_syms"] = at + len(out)
    out += struct.pack("<I", len(symbols))
    align()
    start, markers = len(out), []
    for number, row in enumerate(rows):
        if number % 256 == 0:
            markers.append(len(out) - start)
        out += _compressed(row, codes)
    align()
    parts["names"], parts["markers"] = at + start, at + len(out)
    out += struct.pack(f"<{len(markers)}I", *markers)
    if layout.seqs:
        order = sorted(range(len(symbols)), key=lambda number: symbols[number][2])
        out += b"".join(number.to_bytes(3, "big") for number in order)
    align()
    index, length = [], 0
    for token in tokens:
        index.append(length)
        length += len(token) + 1
    parts["token_table"] = at + len(out)
    out += b"".join(token + b"\0" for token in tokens)
    align()
    parts["token_index"] = at + len(out)
    out += struct.pack("<256H", *index)
    if layout.addresses != "before":
        addresses()
    if layout.addresses == "behind":
        out += bytes(3 * len(symbols))
    return bytes(out)


def image(
    symbols: Sequence[tuple[int, str, str]], layout: Layout | None, base_va: int = BASE_VA, seed: int = 0
) -> bytes:
    """Return a raw Image: functions that call each other, pointers to them, and kallsyms (None: without)."""
    draw = random.Random(seed)
    out = bytearray(IMAGE_SIZE)
    head = bytearray(header(image_size=IMAGE_SIZE))
    head[4:8] = struct.pack("<I", 0x1400_0000 | TEXT_AT // 4 - 1)  # b: to the first function, from offset 4
    out[: len(head)] = head
    out[0x100 : 0x100 + len(BANNER)] = BANNER
    starts = sorted({offset for offset, _, _ in symbols if TEXT_AT <= offset < POINTERS_AT})
    for place in range(starts[0], starts[-1], 4):
        target = draw.choice(starts)
        out[place : place + 4] = struct.pack("<I", 0x9400_0000 | (target - place) // 4 & 0x3FF_FFFF)
    for place in range(POINTERS_AT, TABLES_AT, 16):
        out[place : place + 8] = struct.pack("<Q", base_va + draw.choice(starts))
    if layout:
        made = tables(symbols, layout, TABLES_AT, base_va)
        out[TABLES_AT : TABLES_AT + len(made)] = made
    return bytes(out)


def listing(symbols: Sequence[tuple[int, str, str]], base_va: int = BASE_VA) -> bytes:
    """Return ``symbols`` as System.map text."""
    return "".join(f"{base_va + offset:016x} {letter} {name}\n" for offset, letter, name in symbols).encode()
