"""The arm64 Image: its 64-byte header, and the wrappings it comes in.

Source: Linux v6.12 Documentation/arch/arm64/booting.rst, section 4; drivers/firmware/efi/libstub
(zboot-header.S).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidSubject

HEADER_SIZE = 64
IMAGE_SIZE_MAX = 512 << 20  # bytes; a larger output of a decompressor is taken for a bomb
_MAGIC = b"ARM\x64"
_MAGIC_OFFSET = 56
_GZIP, _ZSTD, _ELF = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x7fELF"
_FLAG_BIG_ENDIAN = 1
_PAGE_SIZES = {1: 4096, 2: 16384, 3: 65536}  # flags bits 2:1


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


def parse_header(image: bytes, name: str) -> ImageHeader:
    """Return the header of a raw Image.

    :param image: the decompressed file, at least 64 bytes
    :param name: how messages call it
    :raises InvalidSubject: truncated, wrong magic, big-endian, no page size, or an image_size out of bounds
    :source: Documentation/arch/arm64/booting.rst
    """
    if len(image) < HEADER_SIZE:
        raise InvalidSubject(f"{name}: {len(image)} bytes: an arm64 Image has a header of {HEADER_SIZE}")
    magic = image[_MAGIC_OFFSET : _MAGIC_OFFSET + 4]
    if magic != _MAGIC:
        raise InvalidSubject(f"{name}: {magic!r} at offset 56{_guess(image)}: an arm64 Image has {_MAGIC!r}")
    text_offset, image_size, flags = struct.unpack_from("<QQQ", image, 8)
    if flags & _FLAG_BIG_ENDIAN:
        raise InvalidSubject(
            f"{name}: flags={flags:#x}: a big-endian kernel; only little-endian ones are run"
        )
    if flags >> 1 & 3 not in _PAGE_SIZES:
        raise InvalidSubject(
            f"{name}: flags={flags:#x}: page size not stated (bits 2:1 are 0); use Linux 4.2 or later"
        )
    if not len(image) <= image_size <= IMAGE_SIZE_MAX:
        rule = f"must be from the file's {len(image):#x} to {IMAGE_SIZE_MAX:#x} bytes"
        raise InvalidSubject(f"{name}: image_size={image_size:#x}: {rule}")
    if text_offset >= 2 << 20:
        raise InvalidSubject(f"{name}: text_offset={text_offset:#x}: must be below 2 MiB")
    return ImageHeader(text_offset, image_size, flags)


def has_magic(head: bytes) -> bool:
    """Tell whether ``head`` (the first 64 bytes or more) starts a raw arm64 Image."""
    return head[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] == _MAGIC


def read_file(path: Path) -> bytes:
    """Return the bytes of ``path``; raise :class:`InvalidSubject` with the system's reason on failure."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSubject(f"{path}: {error.strerror}: must be a readable file") from None


def unwrap(data: bytes, name: str, size_max: int = IMAGE_SIZE_MAX) -> bytes:
    """Return the Image inside a gzip, zstd or EFI zboot wrapping; other bytes are returned as they are.

    :param size_max: bytes; the largest output accepted
    :raises InvalidSubject: truncated or corrupt, of an unknown compression, or larger than size_max
    """
    if data[4:8] == b"zimg" and data[:2] == b"MZ":
        data = _zboot_payload(data, name)
    if data.startswith(_GZIP):
        return _gunzip(data, name, size_max)
    if data.startswith(_ZSTD):
        return _unzstd(data, name, size_max)
    return data


def peek(head: bytes) -> bytes:
    """Return the first bytes of :func:`unwrap`, given the first few KiB of a file; never raises."""
    try:
        if head.startswith(_GZIP):
            return zlib.decompressobj(31).decompress(head, 4096)
        if head.startswith(_ZSTD):
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(head)[:4096]
    except Exception:  # two libraries' own error types; the answer is only "no"
        return b""
    return head


def _gunzip(data: bytes, name: str, size_max: int) -> bytes:
    inflater = zlib.decompressobj(31)
    try:
        out = inflater.decompress(data, size_max + 1)
    except zlib.error as error:
        raise InvalidSubject(f"{name}: gzip: {error}: the file is corrupt") from None
    if len(out) > size_max:
        raise InvalidSubject(
            f"{name}: gzip: over {size_max} bytes decompressed: no arm64 Image is that large"
        )
    if not inflater.eof:
        raise InvalidSubject(
            f"{name}: gzip: ends after {len(data)} bytes, before its trailer: the file is truncated"
        )
    return out


def _unzstd(data: bytes, name: str, size_max: int) -> bytes:
    import zstandard

    out, done, inflater = [], 0, zstandard.ZstdDecompressor().decompressobj()
    step = 1 << 16  # output is at most a few thousand times this before the bound is looked at again
    try:
        for start in range(0, len(data), step):
            out.append(inflater.decompress(data[start : start + step]))
            done += len(out[-1])
            if done > size_max:
                raise InvalidSubject(
                    f"{name}: zstd: over {size_max} bytes decompressed: no arm64 Image is that large"
                )
            if inflater.eof:
                return b"".join(out)
    except zstandard.ZstdError as error:
        raise InvalidSubject(f"{name}: zstd: {error}: the file is corrupt") from None
    raise InvalidSubject(f"{name}: zstd: ends after {len(data)} bytes, inside a frame: the file is truncated")


def _zboot_payload(data: bytes, name: str) -> bytes:
    # struct linux_efi_zboot_header: MZ, "zimg" at 4, payload offset and size at 8 and 12, compression at 24.
    if len(data) < HEADER_SIZE:
        raise InvalidSubject(f"{name}: {len(data)} bytes: an EFI zboot header has {HEADER_SIZE}")
    offset, size = struct.unpack_from("<II", data, 8)
    kind = data[24:56].split(b"\0")[0].decode("latin-1")
    if kind not in ("gzip", "zstd"):
        raise InvalidSubject(f"{name}: EFI zboot compression {kind!r}: must be gzip or zstd; unpack it first")
    if offset + size > len(data):
        raise InvalidSubject(
            f"{name}: EFI zboot payload ends at {offset + size:#x}: the file has {len(data):#x} bytes"
        )
    return data[offset : offset + size]


def _guess(image: bytes) -> str:
    # What a file with a wrong magic seems to be, for the message.
    if image[0x202:0x206] == b"HdrS":
        return " (an x86 bzImage)"
    if image[:4] == _ELF:
        return " (an ELF file)"
    return ""
