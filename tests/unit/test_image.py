"""The arm64 Image header (Documentation/arch/arm64/booting.rst) and the compressions around it."""

from __future__ import annotations

import bz2
import gzip
import inspect
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_kernel import COMPRESSORS, FILE_SIZE, header, image, lz4_legacy, refusal, uimage, zboot

from emu.errors import InvalidSubject
from emu.subject.image import IMAGE_SIZE_MAX, has_magic, parse_header
from emu.subject.kernel import is_kernel, load_kernel
from emu.subject.unwrap import peek, read_file, unwrap


@pytest.fixture(params=sorted(COMPRESSORS))
def compressed(request: pytest.FixtureRequest) -> tuple[str, Callable[[bytes], bytes]]:
    """Return (name of a compression, the function)."""
    return request.param, COMPRESSORS[request.param]


@pytest.mark.parametrize(("flags", "page_size"), [(0b0010, 4096), (0b1100, 16384), (0b1110, 65536)])
def test_header_fields_are_read_and_bits_2_1_are_the_page_size(flags: int, page_size: int) -> None:
    found = parse_header(image(text_offset=0x80000, image_size=0x123000, flags=flags), "Image")
    assert (found.text_offset, found.image_size, found.flags) == (0x80000, 0x123000, flags)
    assert found.page_size == page_size


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "0 bytes: an arm64 Image has a header of 64"),
        (image()[:63], "63 bytes: an arm64 Image has a header of 64"),
        (header(magic=b"ARM\x65"), "b'ARMe' at offset 56: an arm64 Image has b'ARMd'"),
        (bytes(0x202) + b"HdrS" + bytes(64), r"\(an x86 bzImage\)"),
        (b"\x7fELF" + bytes(64), r"\(an ELF file\)"),
        (image(flags=0b1011), "flags=0xb: a big-endian kernel"),
        (image(flags=0b1000), r"flags=0x8: bits 2:1 must give the page size"),
        (image(image_size=0), "image_size=0x0: must be from 64 to"),
        (image(image_size=IMAGE_SIZE_MAX + 1), "image_size=0x20000001: must be from 64 to"),
        (image(text_offset=2 << 20), "text_offset=0x200000: must be whole pages below 2 MiB"),
        (image(text_offset=1), "text_offset=0x1: must be whole pages below 2 MiB"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused_with_file_value_and_rule(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=rf"^some/Image: .*{rule}") as refused:
        parse_header(data, "some/Image")
    assert "\n" not in str(refused.value)


def _with_pe(raw_end: int) -> bytes:
    # An Image with an EFI stub: MZ, and a PE header with one section that ends at raw_end.
    pe = (
        b"PE\0\0"
        + struct.pack("<HHIIIHH", 0xAA64, 1, 0, 0, 0, 0, 0)
        + struct.pack("<8sIIII16x", b"", 0, 0, raw_end, 0)
    )
    out = bytearray(image())
    out[:2], out[60:64], out[0x400 : 0x400 + len(pe)] = b"MZ", struct.pack("<I", 0x400), pe
    return bytes(out)


def test_a_file_shorter_than_its_pe_sections_is_truncated() -> None:
    assert parse_header(_with_pe(FILE_SIZE), "Image").image_size
    with pytest.raises(InvalidSubject, match="PE section 0 ends at 0x4001; the file is truncated"):
        parse_header(_with_pe(FILE_SIZE + 1), "Image")


@given(st.binary(max_size=400), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_any_header_bytes_give_a_header_or_one_typed_error(junk: bytes, place: int, pe_at: int) -> None:
    data = bytearray(_with_pe(FILE_SIZE))
    data[60:64] = struct.pack("<I", pe_at % (FILE_SIZE + 8))
    data[place : place + len(junk)] = junk
    refused = refusal(lambda: parse_header(bytes(data), "Image").page_size, InvalidSubject)
    assert refused is None or refused.startswith("Image: ")


def test_every_compression_is_undone(compressed: tuple[str, Callable[[bytes], bytes]]) -> None:
    name, compress = compressed
    data = compress(image())
    assert unwrap(data, name) == image()
    assert unwrap(data + b"a signature", name) == image()
    assert unwrap(zboot(data, name.encode()), name) == image()
    assert has_magic(peek(data[: 1 << 16]))


def test_other_bytes_are_returned_as_they_are() -> None:
    assert unwrap(image(), "Image") == image()
    assert unwrap(b"", "Image") == b""


def test_a_truncated_file_is_refused(compressed: tuple[str, Callable[[bytes], bytes]]) -> None:
    name, compress = compressed
    data = compress(image() + os.urandom(3000))
    for size in (len(data) // 2, len(data) - 1, 20):
        with pytest.raises(InvalidSubject, match=rf"^f: (xz|lzma|{name}|lz4 .legacy.): "):
            unwrap(data[:size], "f")


def test_an_output_over_the_bound_is_refused(compressed: tuple[str, Callable[[bytes], bytes]]) -> None:
    _, compress = compressed
    data = compress(bytes(1 << 20))
    assert len(unwrap(data, "f", size_max=1 << 20)) == 1 << 20
    with pytest.raises(InvalidSubject, match="over 1048575 bytes decompressed"):
        unwrap(data, "f", size_max=(1 << 20) - 1)


@pytest.mark.parametrize("size", [8 << 20, (8 << 20) + 5, (16 << 20) + 1])
def test_blocks_oflz4_legacy_are_put_together(size: int) -> None:
    data = image() + bytes(size - len(image()))
    packed = lz4_legacy(data)
    assert unwrap(packed, "f") == data
    assert unwrap(packed + struct.pack("<I", size), "f") == data  # cmd_lz4_with_size
    assert has_magic(peek(packed[: 1 << 16]))


@pytest.mark.parametrize("kind", ["lz4", "lz4 legacy"])
def test_the_first_bytes_of_an_lz4_image_are_found_in_its_first_64_kib(kind: str) -> None:
    """Its first block is larger than that, and no library decodes a part of one."""
    packed = COMPRESSORS[kind](image() + os.urandom(1 << 20))
    assert has_magic(peek(packed[: 1 << 16]))


def test_an_image_whose_first_block_of_bzip2_is_large_is_a_kernel(tmp_path: Path) -> None:
    """Nothing of a block comes out before all of it has been read, and it has up to 900 kB."""
    path = tmp_path / "Image.bz2"
    path.write_bytes(bz2.compress(image() + os.urandom(2 << 20)))
    assert is_kernel(path)


def test_an_image_packed_with_lzop_says_so(tmp_path: Path) -> None:
    path = tmp_path / "Image.lzo"
    path.write_bytes(b"\x89LZO\0\r\n\x1a\n" + bytes(100))
    assert is_kernel(path)
    with pytest.raises(InvalidSubject, match="Image.lzo: compressed with lzop: must be zstd or gzip, bzip2"):
        load_kernel(path)


def test_the_bound_is_half_a_gibibyte_unless_given() -> None:
    assert inspect.signature(unwrap).parameters["size_max"].default == IMAGE_SIZE_MAX == 512 << 20


@given(st.sampled_from(sorted(COMPRESSORS)), st.integers(0, 2**16), st.binary(min_size=1, max_size=8))
def test_damaged_compressed_data_gives_bytes_or_one_typed_error(kind: str, place: int, junk: bytes) -> None:
    data = COMPRESSORS[kind](image())
    place %= len(data)
    damaged = data[:place] + junk + data[place + len(junk) :]
    peek(damaged)
    refused = refusal(lambda: unwrap(damaged, "f", size_max=1 << 20), InvalidSubject)
    assert refused is None or refused.startswith("f: ")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (zboot(b"", b"gzip")[:40], "40 bytes: an EFI zboot header has 64"),
        (zboot(b"12", b"gzip", size=3), "EFI zboot payload ends at 0x43: the file has 0x42 bytes"),
        (zboot(b"12", b"lzo"), "EFI zboot compression 'lzo': must be zstd or gzip, bzip2, xz, lzma"),
    ],
)
def test_a_bad_zboot_header_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=f"^vmlinuz.efi: {rule}"):
        unwrap(data, "vmlinuz.efi")


def test_only_regular_readable_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "Image"
    file.write_bytes(b"abc")
    assert read_file(file) == b"abc"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(InvalidSubject, match="fifo: no regular file: must be a file"):
        read_file(fifo)
    with pytest.raises(InvalidSubject, match="a directory: must be a file"):
        read_file(tmp_path)
    with pytest.raises(InvalidSubject, match="missing: No such file or directory"):
        read_file(tmp_path / "missing")
    with pytest.raises(InvalidSubject, match="must be a readable file"):
        read_file(tmp_path / "a\0b")
    monkeypatch.setattr("emu.subject.unwrap.FILE_SIZE_MAX", 2)
    with pytest.raises(InvalidSubject, match="3 bytes: must be at most 2"):
        read_file(file)


def test_an_unreadable_file_is_refused_with_the_systems_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so the refusal is the test's own."""
    file = tmp_path / "Image"
    file.write_bytes(b"abc")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InvalidSubject, match="Image: Permission denied: must be a readable file"):
        read_file(file)


def test_a_uimage_is_unwrapped_whatever_is_in_it() -> None:
    for packed in (b"plain bytes", gzip.compress(b"plain bytes")):
        assert unwrap(uimage(packed), "x") == b"plain bytes"
        assert unwrap(uimage(packed) + b"behind it", "x") == b"plain bytes"
    assert peek(uimage(gzip.compress(b"plain bytes"))) == b"plain bytes"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (uimage(b"x")[:40], "40 bytes: the header of a uImage has 64"),
        (uimage(b"x", machine=2), r"uImage for CPU 2: must be AArch64 \(22\)"),
        (uimage(b"x", size=9), "uImage ends at 0x49: the file has 0x41 bytes"),
        (uimage(b"x", crc=5), "uImage with CRC 0x5: its data have 0x"),
    ],
)
def test_a_bad_uimage_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=f"x: {rule}"):
        unwrap(data, "x")
