"""LZ4 as kernels are packed with: the frame format, and the legacy one of ``lz4 -l`` (Image.lz4).

Decoding whole blocks is left to the library, which cannot decode the beginning of one.
Source: lz4_Frame_format.md, 1.6.4, and lz4_Block_format.md of LZ4; Linux v6.12 scripts/Makefile.lib, cmd_lz4.
"""

from __future__ import annotations

FRAME_MAGIC = b"\x04\x22\x4d\x18"
LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LEGACY_BLOCK = 8 << 20  # bytes that a block has at most, uncompressed
_CONTENT_SIZE, _DICTIONARY = 8, 1  # bits of FLG


class LegacyInflater:
    """Decodes a legacy file, as :class:`bz2.BZ2Decompressor` would."""

    def __init__(self) -> None:
        self.eof = False

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return all of the file, or more than ``max_length`` bytes of it.

        Its end is the first block that is not full, or the end of the data: the format has no other.

        :raises Exception: a corrupt block
        """
        import lz4.block

        out, at = bytearray(), len(LEGACY_MAGIC)
        while at + 4 <= len(data) and len(out) <= max_length:
            size = int.from_bytes(data[at : at + 4], "little")
            if out and size == len(out):  # what cmd_lz4_with_size appends
                break
            end = at + 4 + size
            if end > len(data):
                return bytes(out)
            block = lz4.block.decompress(data[at + 4 : end], uncompressed_size=_LEGACY_BLOCK)
            out += block
            at = end
            if len(block) < _LEGACY_BLOCK:
                break
        self.eof = True
        return bytes(out)


def first_bytes(head: bytes, count: int) -> bytes:
    """Return at most ``count`` bytes of what a file unpacks to, given its own first ones."""
    at = len(LEGACY_MAGIC) + 4
    if head.startswith(FRAME_MAGIC):
        flags = head[4]
        at = 7 + (8 if flags & _CONTENT_SIZE else 0) + (4 if flags & _DICTIONARY else 0) + 4
    out = bytearray()
    while at < len(head) and len(out) < count:
        token = head[at]
        literals, at = _length(head, at + 1, token >> 4)
        out += head[at : at + literals]
        at += literals
        distance = int.from_bytes(head[at : at + 2], "little")
        matched, at = _length(head, at + 2, token & 15)
        if not 0 < distance <= len(out):
            break
        for _ in range(min(matched + 4, count)):
            out.append(out[-distance])
    return bytes(out[:count])


def _length(data: bytes, at: int, low: int) -> tuple[int, int]:
    # (length, where it ends): 15 is followed by bytes to add, up to the first that is not 255.
    more = low == 15
    while more and at < len(data):
        low += data[at]
        more = data[at] == 255
        at += 1
    return low, at
