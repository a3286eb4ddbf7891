"""Reading kernel files: the compressions an Image comes in, with a bound on what they may expand to.

Sources: Linux v6.12 arch/arm64/boot/Makefile (Image.gz, .bz2, .lz4, .lzma, .xz, .zst); EFI zboot:
drivers/firmware/efi/libstub/zboot-header.S; U-Boot's legacy uImage: include/image.h, struct legacy_img_hdr.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from emu.errors import InvalidSubject
from emu.subject.fit import fit_payload, is_fit
from emu.subject.image import HEADER_SIZE, IMAGE_SIZE_MAX
from emu.subject.lz4 import FRAME_MAGIC, LEGACY_MAGIC, LegacyInflater, first_bytes

FILE_SIZE_MAX = 4 << 30  # bytes; a vmlinux with DWARF has some hundred MiB
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_STEP = 4096  # bytes in; at most 128 MiB out (32,768 times, RLE blocks) before the bound is checked
_PEEK = 4096
LZOP_MAGIC = b"\x89LZO\0\r\n\x1a\n"  # of Image.lzo, which nothing here unpacks
_UIMAGE_MAGIC = b"\x27\x05\x19\x56"
_UIMAGE_HEADER = struct.Struct(">12xI8xI4B32x")  # size, CRC of the data; OS, CPU, kind, compression
_UIMAGE_ARM64 = 22


class _Inflater(Protocol):
    # What zlib, bz2 and lzma have in common.
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file of at most 4 GiB.

    :raises InvalidSubject: anything else; with the system's reason when it cannot be read
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidSubject(
                f"{path}: {'a directory' if path.is_dir() else 'no regular file'}: must be a file"
            )
        if status.st_size > FILE_SIZE_MAX:
            raise InvalidSubject(f"{path}: {status.st_size} bytes: must be at most {FILE_SIZE_MAX}")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InvalidSubject(f"{path}: {reason}: must be a readable file") from None


def unwrap(data: bytes, name: str, size_max: int = IMAGE_SIZE_MAX) -> bytes:
    """Return the Image in a gzip, bzip2, lz4, xz, lzma, zstd, EFI zboot, uImage or FIT file, else the bytes.

    :param size_max: bytes; the largest output accepted
    :raises InvalidSubject: truncated or corrupt, of an unknown compression, or larger than size_max
    """
    if data.startswith(_UIMAGE_MAGIC):
        data = _uimage_payload(data, name)
    elif is_fit(data):
        data = fit_payload(data, name)
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        data = _zboot_payload(data, name)
    if data.startswith(_ZSTD_MAGIC):
        return _unzstd(data, name, size_max)
    if data.startswith(LZOP_MAGIC):
        raise InvalidSubject(f"{name}: compressed with lzop: {_unpacked()}")
    for kind, (magic, make) in _INFLATERS.items():
        if data.startswith(magic):
            return _inflate(data, f"{name}: {kind}", make(), size_max)
    return data


def peek(head: bytes) -> bytes:
    """Return the first bytes of :func:`unwrap`, given the first MiB of a file; b"" when that fails."""
    if head.startswith(_UIMAGE_MAGIC):
        head = head[_UIMAGE_HEADER.size :]
    try:
        if head.startswith(_ZSTD_MAGIC):
            import zstandard

            inflater, out = zstandard.ZstdDecompressor().decompressobj(), b""
            for start in range(0, len(head), _ZSTD_STEP):
                out += inflater.decompress(head[start : start + _ZSTD_STEP])
                if len(out) >= HEADER_SIZE:
                    break
            return out[:_PEEK]
        if head.startswith((FRAME_MAGIC, LEGACY_MAGIC)):
            return first_bytes(head, HEADER_SIZE)
        for magic, make in _INFLATERS.values():
            if head.startswith(magic):
                return make().decompress(head, _PEEK)
    except Exception:  # four libraries' own error types; the answer is only "no"
        return b""
    return head[:_PEEK]


def _inflate(data: bytes, name: str, inflater: _Inflater, size_max: int) -> bytes:
    try:
        out = inflater.decompress(data, size_max + 1)
    except Exception as error:  # zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError
        raise InvalidSubject(f"{name}: {error}: the file is corrupt") from None
    if len(out) > size_max:
        raise InvalidSubject(f"{name}: over {size_max} bytes decompressed: no arm64 Image is that large")
    if not inflater.eof:
        raise InvalidSubject(f"{name}: no end in {len(data)} bytes: the file is truncated")
    return out


def _unzstd(data: bytes, name: str, size_max: int) -> bytes:
    import zstandard

    out, done, inflater = [], 0, zstandard.ZstdDecompressor().decompressobj()
    try:
        for start in range(0, len(data), _ZSTD_STEP):
            out.append(inflater.decompress(data[start : start + _ZSTD_STEP]))
            done += len(out[-1])
            if done > size_max:
                raise InvalidSubject(
                    f"{name}: zstd: over {size_max} bytes decompressed: no arm64 Image is that large"
                )
            if inflater.eof:
                return b"".join(out)
    except zstandard.ZstdError as error:
        raise InvalidSubject(f"{name}: zstd: {error}: the file is corrupt") from None
    raise InvalidSubject(f"{name}: zstd: no end in {len(data)} bytes: the file is truncated")


def _zboot_payload(data: bytes, name: str) -> bytes:
    # struct linux_efi_zboot_header: payload offset and size at 8 and 12, the name of the compression at 24.
    if len(data) < HEADER_SIZE:
        raise InvalidSubject(f"{name}: {len(data)} bytes: an EFI zboot header has {HEADER_SIZE}")
    offset, size = struct.unpack_from("<II", data, 8)
    if offset + size > len(data):
        end = f"EFI zboot payload ends at {offset + size:#x}"
        raise InvalidSubject(f"{name}: {end}: the file has {len(data):#x} bytes")
    payload = data[offset : offset + size]
    if not payload.startswith((_ZSTD_MAGIC, *(magic for magic, _ in _INFLATERS.values()))):
        kind = data[24:56].split(b"\0")[0].decode("latin-1")
        raise InvalidSubject(f"{name}: EFI zboot compression {kind!r}: {_unpacked()}")
    return payload


def _unpacked() -> str:
    return f"must be zstd or {', '.join(_INFLATERS)}; unpack it first"


def _uimage_payload(data: bytes, name: str) -> bytes:
    # What U-Boot's legacy header is of: one file, packed as it says itself.
    begin = _UIMAGE_HEADER.size
    if len(data) < begin:
        raise InvalidSubject(f"{name}: {len(data)} bytes: the header of a uImage has {begin}")
    size, crc, _, machine, _, _ = _UIMAGE_HEADER.unpack_from(data)
    if machine != _UIMAGE_ARM64:
        raise InvalidSubject(f"{name}: uImage for CPU {machine}: must be AArch64 ({_UIMAGE_ARM64})")
    if begin + size > len(data):
        raise InvalidSubject(f"{name}: uImage ends at {begin + size:#x}: the file has {len(data):#x} bytes")
    payload = data[begin : begin + size]
    if zlib.crc32(payload) != crc:
        raise InvalidSubject(f"{name}: uImage with CRC {crc:#x}: its data have {zlib.crc32(payload):#x}")
    return payload


def _bzip2() -> _Inflater:
    import bz2

    return bz2.BZ2Decompressor()


def _lz4() -> _Inflater:
    import lz4.frame

    inflater: _Inflater = lz4.frame.LZ4FrameDecompressor()
    return inflater


def _lzma() -> _Inflater:
    import lzma

    return lzma.LZMADecompressor(memlimit=IMAGE_SIZE_MAX)


_INFLATERS: dict[str, tuple[bytes, Callable[[], _Inflater]]] = {
    "gzip": (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    "bzip2": (b"BZh", _bzip2),
    "xz": (b"\xfd7zXZ\0", _lzma),
    "lzma": (b"\x5d\0\0", _lzma),
    "lz4": (FRAME_MAGIC, _lz4),
    "lz4 (legacy)": (LEGACY_MAGIC, LegacyInflater),
}
