"""The arm64 Image: the 64-byte header of a raw one, and whether the file is whole.

Source: Linux v6.12 Documentation/arch/arm64/booting.rst, section 4; arch/arm64/kernel/efi-header.S.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from emu.errors import InvalidSubject

HEADER_SIZE = 64
IMAGE_SIZE_MAX = 512 << 20  # bytes, BSS included
_MAGIC = b"ARM\x64"
_MAGIC_OFFSET = 56
_FLAG_BIG_ENDIAN = 1
_PAGE_SIZES = {1: 4096, 2: 16384, 3: 65536}  # flags bits 2:1
_TEXT_OFFSET_MAX = 2 << 20


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The fields of the header that a loader needs; sizes and offsets in bytes."""

    text_offset: int
    image_size: int
    flags: int

    @property
    def page_size(self) -> int:
        """The translation granule the kernel was built for, in bytes."""
        return _PAGE_SIZES[self.flags >> 1 & 3]


def has_magic(head: bytes) -> bool:
    """Tell whether ``head`` (the first 64 bytes or more) starts a raw arm64 Image."""
    return head[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] == _MAGIC


def parse_header(image: bytes, name: str) -> ImageHeader:
    """Return the header of a raw Image.

    :param image: the whole file, decompressed
    :param name: its name in messages
    :raises InvalidSubject: truncated, wrong magic, big-endian, no page size, or a field out of bounds
    """
    if len(image) < HEADER_SIZE:
        raise InvalidSubject(f"{name}: {len(image)} bytes: an arm64 Image has a header of {HEADER_SIZE}")
    magic = image[_MAGIC_OFFSET : _MAGIC_OFFSET + 4]
    if magic != _MAGIC:
        raise InvalidSubject(f"{name}: {magic!r} at offset 56{_guess(image)}: an arm64 Image has {_MAGIC!r}")
    text_offset, image_size, flags = struct.unpack_from("<QQQ", image, 8)
    if flags & _FLAG_BIG_ENDIAN:
        raise InvalidSubject(
            f"{name}: flags={flags:#x}: a big-endian kernel; only little-endian ones run here"
        )
    if flags >> 1 & 3 not in _PAGE_SIZES:
        raise InvalidSubject(
            f"{name}: flags={flags:#x}: bits 2:1 must give the page size (Linux 4.2 and later do)"
        )
    if not HEADER_SIZE <= image_size <= IMAGE_SIZE_MAX:
        rule = f"must be from {HEADER_SIZE} to {IMAGE_SIZE_MAX:#x} bytes"
        raise InvalidSubject(f"{name}: image_size={image_size:#x}: {rule}")
    if text_offset >= _TEXT_OFFSET_MAX or text_offset % 4096:
        raise InvalidSubject(f"{name}: text_offset={text_offset:#x}: must be whole pages below 2 MiB")
    _check_whole(image, name)
    return ImageHeader(text_offset, image_size, flags)


def _check_whole(image: bytes, name: str) -> None:
    # An Image with an EFI stub is a PE file too, and its section table says how long the file is.
    at = struct.unpack_from("<I", image, 60)[0]
    if image[:2] != b"MZ" or image[at : at + 4] != b"PE\0\0" or at + 24 > len(image):
        return
    sections, optional_size = (
        struct.unpack_from("<H", image, at + 6)[0],
        struct.unpack_from("<H", image, at + 20)[0],
    )
    table = at + 24 + optional_size
    for number in range(sections):
        row = table + 40 * number
        size, offset = struct.unpack("<II", image[row + 16 : row + 24].ljust(8, b"\xff"))
        if offset + size > len(image):
            end = f"PE section {number} ends at {offset + size:#x}"
            raise InvalidSubject(f"{name}: {len(image):#x} bytes: {end}; the file is truncated")


def _guess(image: bytes) -> str:
    # Guess the type of a file with a wrong magic, for the message.
    if image[0x202:0x206] == b"HdrS":
        return " (an x86 bzImage)"
    if image[:4] == b"\x7fELF":
        return " (an ELF file)"
    return ""
