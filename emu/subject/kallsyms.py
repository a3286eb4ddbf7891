"""Symbols of a raw Image, read from the kallsyms that the kernel has of itself.

The tables are found by their structure alone: kallsyms_token_index repeats the offsets of the 256 strings of
kallsyms_token_table, kallsyms_markers those of every 256th name of kallsyms_names. What they hold, and how it
is packed: Linux scripts/kallsyms.c, 5.0 to 7.3. Addresses come in three layouts:

* up to 6.3 ``kallsyms_offsets`` (u32, from ``kallsyms_relative_base``) lie before ``kallsyms_num_syms``;
* up to 6.19 the same lie behind ``kallsyms_token_index``;
* from 7.0 on each offset (s32) is from its own place, and there is no base.
"""

from __future__ import annotations

import codecs
import operator
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from emu.errors import Untestable
from emu.subject.link_address import is_kernel_va, vote_link_address

_CHUNK = 256  # names to a marker
_CHUNK_MIN, _CHUNK_MAX = 2 * _CHUNK, 130 * _CHUNK  # bytes
_MARKERS_REACH = 4 << 20  # bytes; kallsyms_seqs_of_names may lie between the markers and the tokens
_TOKENS_REACH = 1 << 16  # bytes: kallsyms_token_index is u16
_PADDING = 256
_SAMPLED = 31  # every how many bytes of the names are counted
_PAGE_BITS, _IMAGE_BITS = 12, 21  # the lowest bits that a section's and an image's link address has clear
# Characters that are tokens of themselves in every kernel, because names have them.
_LITERALS = (b"0123456789", b"abcdefghi")


class _NoTableError(Exception):
    """No kallsyms in the bytes; the text says what was not found."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    # kallsyms_token_table at `start`; kallsyms_token_index ends at `end`. Offsets are into the image.
    strings: Sequence[bytes]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Names:
    # kallsyms_num_syms at `count_at`; kallsyms_names from `start`; where each of the names begins.
    count_at: int
    start: int
    end: int
    starts: Sequence[int]


def read_kallsyms(image: bytes, name: str) -> bytes:
    """Return the kallsyms of a raw (decompressed) Image as System.map text, sorted by VA.

    :param name: the image's name in messages
    :raises Untestable: there is no table, or none that is whole
    """
    try:
        tokens = _find_tokens(image)
        names = _find_names(image, tokens)
        vas = _addresses(image, tokens, names)
        rows = _expand(image, tokens, names)
    except _NoTableError as error:
        raise Untestable(
            f"{name}: no usable System.map, and {error} in its {len(image):#x} bytes "
            "(CONFIG_KALLSYMS=n, or Linux before 5.0); give --system-map FILE"
        ) from None
    vas.byteswap()
    columns = vas.tobytes().hex(" ", 8).split(" ")
    return "".join([f"{va} {row[0]} {row[1:]}\n" for va, row in zip(columns, rows, strict=True)]).encode(
        "latin-1"
    )


def _find_tokens(image: bytes) -> _Tokens:
    for literals in _LITERALS:
        run = b"\0" + b"".join(bytes([character, 0]) for character in literals)
        at = image.find(run)
        while at >= 0:
            tokens = _tokens_around(image, at + 1, literals[0])
            if tokens:
                return tokens
            at = image.find(run, at + 1)
    raise _NoTableError("no kallsyms_token_table")


def _tokens_around(image: bytes, at: int, number: int) -> _Tokens | None:
    # The table whose token `number` is at `at`, when its index follows it: that tells where token 0 starts.
    second = at
    for _ in range(number - 1):
        second = image.rfind(b"\0", 0, second - 1) + 1
    strings = image[second : second + _TOKENS_REACH + _PADDING].split(b"\0", 255)[:255]
    if not all(map(_is_printable, strings)):
        return None
    ends = list(accumulate(len(string) + 1 for string in strings))
    for index_at in range(second + ends[-1], second + ends[-1] + _PADDING):
        packed = image[index_at : index_at + 512]
        index: Sequence[int] = memoryview(packed).cast("H") if len(packed) == 512 else (1,)
        if not index[0] and [index[1] + end for end in ends[:-1]] == list(index[2:]):
            start = second - index[1]
            first = image[start : second - 1] if start >= 0 else b" "
            if _is_printable(first):
                return _Tokens([first, *strings], start, index_at + 512)
    return None


def _is_printable(token: bytes) -> bool:
    return not token or (token.isascii() and token.decode().isprintable() and b" " not in token)


def _find_names(image: bytes, tokens: _Tokens) -> _Names:
    # Back from the tokens to kallsyms_markers: 0, then the growing offsets of names 256, 512, ...
    top = tokens.start & ~3
    low = max(top - _MARKERS_REACH, 0)
    words = memoryview(image)[low:top].cast("I")
    for at in range(len(words) - 2, -1, -1):
        if words[at] or not _CHUNK_MIN <= words[at + 1] <= _CHUNK_MAX:
            continue
        markers = [0]
        for word in words[at + 1 :]:
            if not _CHUNK_MIN <= word - markers[-1] <= _CHUNK_MAX:
                break
            markers.append(word)
        # What follows the markers may look like one more.
        for count in range(len(markers), max(len(markers) - 3, 1), -1):
            names = _names_before(image, low + 4 * at, markers[:count])
            if names:
                return names
    raise _NoTableError("no kallsyms_markers")


def _names_before(image: bytes, end: int, markers: Sequence[int]) -> _Names | None:
    # kallsyms_names that end at most some padding below `end` and agree with all markers.
    last = end - markers[-1]
    for start in range(last & ~3, max(last - _CHUNK_MAX, 8), -4):
        for distance in (4, 8):
            count = int.from_bytes(image[start - distance : start - distance + 4], "little")
            if (count + _CHUNK - 1) // _CHUNK != len(markers):
                continue
            if _walk(image, start, _CHUNK, end)[-1] != start + markers[1]:
                continue
            starts = _walk(image, start, count, end)
            stop = starts.pop()
            if [at - start for at in starts[::_CHUNK]] == list(markers) and 0 <= end - stop < _PADDING:
                return _Names(start - distance, start, stop, starts)
    return None


def _walk(image: bytes, at: int, count: int, end: int) -> list[int]:
    # Where each of `count` names begins, and where the last one ends; fewer when they leave `end`.
    # A name is its length (7 bits, or 14 in two bytes from Linux 6.1 on) and as many tokens.
    starts = []
    for _ in range(count):
        if at >= end:
            break
        starts.append(at)
        length = image[at]
        if length > 127:
            at += 1
            length = length & 127 | image[at] << 7
        at += length + 1
    starts.append(at)
    return starts


def _expand(image: bytes, tokens: _Tokens, names: _Names) -> list[str]:
    # Each name with its type letter before it. One call decodes them all, so a code is wanted to part them:
    # the rarest. The few names that have it themselves, or a length of two bytes, are done again.
    start, starts = names.start, names.starts
    codes = bytearray(image[start : names.end])
    rarest = min(range(256), key=codes[::_SAMPLED].count)
    strings = [token.decode() for token in tokens.strings]
    again = {number for number, at in enumerate(starts) if image[at] > 127}
    at = codes.find(rarest)
    while at >= 0:
        again.add(bisect_right(starts, start + at) - 1)
        at = codes.find(rarest, at + 1)
    codes = codes.replace(bytes([rarest]), bytes([(rarest + 1) % 256]))
    for at in starts:
        codes[at - start] = rarest
    mapping = dict(enumerate(strings)) | {rarest: "\n"}
    rows = codecs.charmap_decode(bytes(codes), "strict", mapping)[0].split("\n")[1:]
    for number in again:
        at = starts[number] + (2 if image[starts[number]] > 127 else 1)
        until = starts[number + 1] if number + 1 < len(starts) else names.end
        rows[number] = "".join([strings[code] for code in image[at:until]])
    if min(map(len, rows)) < 2:
        raise _NoTableError("a name without a letter in kallsyms_names")
    return rows


def _addresses(image: bytes, tokens: _Tokens, names: _Names) -> array[int]:
    # The VA of each name.
    count = len(names.starts)
    size = 4 * count
    behind = image[tokens.end : tokens.end + size]
    if len(behind) == size and _ascends(relative := memoryview(behind).cast("I")):
        base = image[tokens.end + (size + 7 & -8) :][:8]
        return _from_base(image, relative, base)
    before = names.count_at - 8 - (size + 7 & -8)
    if before >= 0 and _ascends(relative := memoryview(image)[before : before + size].cast("I")):
        return _from_base(image, relative, image[names.count_at - 8 : names.count_at])
    if len(behind) == size:
        # Offsets from the image's first byte, which is _text.
        places = range(tokens.end, tokens.end + size, 4)
        offsets = list(map(operator.add, places, memoryview(behind).cast("i")))
        if 0 <= offsets[0] < tokens.start and _ascends(offsets):
            return _moved(offsets, vote_link_address(image, offsets, _IMAGE_BITS))
    raise _NoTableError("no kallsyms_offsets that ascend")


def _from_base(image: bytes, offsets: Sequence[int], stored: bytes) -> array[int]:
    # kallsyms_relative_base is zero where the linker leaves it to the relocations, which nothing has applied.
    base = int.from_bytes(stored, "little")
    return _moved(offsets, base if is_kernel_va(base) else vote_link_address(image, offsets, _PAGE_BITS))


def _moved(offsets: Sequence[int], base: int | None) -> array[int]:
    if base is None:
        raise _NoTableError("no pointers that say where kallsyms_offsets begin")
    if base + offsets[-1] >= 1 << 64:
        raise _NoTableError("kallsyms_offsets beyond the address space")
    return array("Q", map(base.__add__, offsets))


def _ascends(values: Sequence[int]) -> bool:
    # Bytes that ascend: a run of zeros is no table.
    return values[-1] - values[0] >= len(values) and all(map(operator.le, values, values[1:]))
