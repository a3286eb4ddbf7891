"""FIT images: the kernel of the default configuration, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from make_kernel import fit, image

from emu.errors import InvalidSubject
from emu.subject.kernel_files import is_kernel
from emu.subject.unwrap import unwrap

KERNEL = image()
PACKED = gzip.compress(KERNEL, mtime=0)


def behind(payload: bytes, **where: int) -> bytes:
    """A FIT as mkimage -E makes it: the data lie behind the tree."""
    props = {"data": b"", "data-size": struct.pack(">I", len(payload))}
    props |= {name.replace("_", "-"): struct.pack(">I", value) for name, value in where.items()}
    return fit(
        b"", images={"kernel": props}, behind=bytes(-len(fit(b"", images={"kernel": props})) % 4) + payload
    )


@pytest.mark.parametrize("payload", [KERNEL, PACKED])
def test_the_kernel_of_the_default_configuration_is_unwrapped(payload: bytes) -> None:
    assert unwrap(fit(payload), "x") == KERNEL
    assert unwrap(fit(payload, behind=b"more"), "x") == KERNEL


def test_of_two_kernels_the_configuration_names_one() -> None:
    other = {"data": b"other", "type": b"kernel\0", "arch": b"arm64\0"}
    two = {"conf-1": {"kernel": b"kernel\0"}, "conf-2": {"kernel": b"other\0"}}
    for default, expected in (("conf-1", KERNEL), ("conf-2", b"other"), (None, KERNEL)):
        blob = fit(PACKED, images={"other": other}, configurations=two, default=default)
        assert unwrap(blob, "x") == expected


def test_without_configurations_it_is_the_only_kernel() -> None:
    assert unwrap(fit(PACKED, configurations={}, default=None), "x") == KERNEL


def test_data_may_lie_behind_the_tree() -> None:
    assert unwrap(behind(PACKED, data_offset=0), "x") == KERNEL
    size = len(behind(PACKED, data_position=0))
    assert unwrap(behind(PACKED, data_position=size - len(PACKED)), "x") == KERNEL


def test_hashes_are_those_of_the_data() -> None:
    right = {"crc32": struct.pack(">I", zlib.crc32(PACKED)), "sha256": hashlib.sha256(PACKED).digest()}
    assert unwrap(fit(PACKED, hashes=right | {"of-tomorrow": b"1"}), "x") == KERNEL
    for algorithm, value in right.items():
        with pytest.raises(InvalidSubject, match=f"x: FIT image 'kernel': {algorithm} .*: its data have"):
            unwrap(fit(PACKED, hashes={algorithm: value[::-1]}), "x")


@pytest.mark.parametrize(
    ("blob", "rule"),
    [
        (fit(PACKED, images={"kernel": {"arch": b"arm\0"}}), "FIT image 'kernel': arch 'arm': must be arm64"),
        (
            fit(PACKED, images={"kernel": {"os": b"vxworks\0"}}),
            "FIT image .*: os 'vxworks': must be linux",
        ),
        (
            fit(PACKED, configurations={"conf-1": {"kernel": b"fdt-1\0"}}),
            "FIT image 'fdt-1': type 'flat_dt': must be kernel or kernel_noload",
        ),
        (fit(PACKED, default="conf-9"), "FIT configuration 'conf-9': not in /configurations"),
        (
            fit(PACKED, configurations={"conf-1": {"kernel": b"no\0"}}),
            "FIT configuration 'conf-1': kernel 'no': not in /images",
        ),
        (
            fit(PACKED, configurations={"conf-1": {"fdt": b"x\0"}}),
            "FIT configuration .* kernel 'nothing'",
        ),
        (
            fit(PACKED, images={"b": {"type": b"kernel\0"}}, configurations={}, default=None),
            "FIT with 2 kernels and no configuration: must be one",
        ),
        (
            fit(PACKED, images={"kernel": {"type": b"kernel\0", "entry": b"\0\0\1\0"}}),
            "FIT image 'kernel': entered at 0x100, loaded at 0x0: an arm64 Image is entered at",
        ),
        (fit(PACKED, images={"kernel": {"data": b""}}), "FIT image 'kernel': no data: must have data, or"),
        (behind(PACKED, data_position=1 << 30), "FIT image 'kernel': its data end at 0x4"),
        (fit(PACKED)[:-8], "totalsize="),
        (fit(PACKED[:-9]), "gzip: no end in"),
    ],
)
def test_others_are_refused_in_one_line(blob: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=f"x: {rule}"):
        unwrap(blob, "x")


def test_a_fit_is_a_kernel_and_a_device_tree_is_none(tmp_path: Path) -> None:
    path = tmp_path / "image.fit"
    path.write_bytes(fit(PACKED))
    assert is_kernel(path)
    path.write_bytes(fit(PACKED).replace(b"images\0", b"imagos\0"))
    assert not is_kernel(path)


def test_what_dtc_makes_is_read(tmp_path: Path) -> None:
    """dtc is what mkimage makes a FIT with."""
    dtc = shutil.which("dtc")
    if dtc is None:
        pytest.skip("dtc is not installed")
    (tmp_path / "Image.gz").write_bytes(PACKED)
    (tmp_path / "image.its").write_text(
        '/dts-v1/;\n/ { description = "x"; #address-cells = <1>;\n images { kernel-1 { description = "Linux";'
        ' data = /incbin/("Image.gz"); type = "kernel"; arch = "arm64"; os = "linux"; compression = "gzip";'
        " load = <0x40200000>; entry = <0x40200000>; }; };\n"
        ' configurations { default = "conf-1"; conf-1 { kernel = "kernel-1"; }; }; };\n'
    )
    command = [dtc, "-q", "-I", "dts", "-O", "dtb", "-o", "image.itb", "image.its"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert unwrap((tmp_path / "image.itb").read_bytes(), "x") == KERNEL
