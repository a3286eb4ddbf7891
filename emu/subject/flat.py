"""A flat image: a program without a header, as QEMU's ``-kernel`` takes it; kvm-unit-tests are such.

:source: QEMU 7.2 hw/arm/boot.c, load_aarch64_image(): without the magic of an Image it goes 0x80000 bytes
    above RAM's beginning, and is entered at its first byte with the device tree's PA in X0
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from emu.arch.boot import DRAM_BASE
from emu.errors import InvalidSubject
from emu.subject import Segment, Subject
from emu.subject.kernel import KernelImage
from emu.subject.layout import KernelLayout
from emu.subject.symbols import Symbols
from emu.subject.unwrap import read_file

_OFFSET = 0x8_0000
_PAGE_SIZE = 64 << 10  # the largest that it may be built for; BSS and stacks lie behind the file
_ROOM = 1 << 20  # for these
_SIZE_MAX = 64 << 20
_NO_LAYOUT = KernelLayout(0, 0, 0, 0, 0, 0, 0, "")


def load_flat(path: Path) -> KernelImage:
    """Load a flat image; it has no symbols.

    :raises InvalidSubject: it cannot be read, is empty, or larger than 64 MiB
    """
    data = read_file(path)
    if not 4 <= len(data) <= _SIZE_MAX:
        raise InvalidSubject(f"{path}: {len(data)} bytes: a flat image has 4 bytes to 64 MiB")
    pa = DRAM_BASE + _OFFSET
    size = (len(data) + _ROOM + _PAGE_SIZE - 1) & -_PAGE_SIZE
    subject = Subject(
        name=str(path),
        identity=hashlib.sha256(data).hexdigest()[:16],
        segments=(Segment(pa, data, size),),
        symbols=Symbols(b""),
        va_offset=0,
    )
    return KernelImage(
        subject=subject,
        version="",
        page_size=_PAGE_SIZE,
        text_offset=_OFFSET,
        flags=0,
        image_size=size,
        entry_pa=pa,
        layout=_NO_LAYOUT,
        banner="",
    )
