"""Which pages of an anonymous mapping of this process have been touched: all others are zero.

A read of a page that was never touched gives it an entry in the page tables, which each copy of the process
then copies. So what goes through hundreds of MiB asks the kernel first.

:source: Linux Documentation/admin-guide/mm/pagemap.rst
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator

_ENTRY = 8  # bytes of a page's in the file
# Of the top byte of entries: bits 62 and 63 say that the page is swapped, or present.
_TOUCHED = re.compile(rb"[\x40-\xff]+")
_PROBED = 16  # pages


def touched(address: int, size: int) -> Iterator[range]:
    """Yield the runs of bytes, relative to ``address``, that may be other than zero: whole pages, upwards.

    :param address: of a private anonymous mapping of so many bytes, in this process
    """
    tops = _tops(address, size) if _can_be_asked() else None
    if tops is None:
        yield range(size)
        return
    for run in _TOUCHED.finditer(tops):
        yield range(run.start() * mmap.PAGESIZE, min(run.end() * mmap.PAGESIZE, size))


def _tops(address: int, size: int) -> bytes | None:
    # The top byte of the entry of each page; None: there is no such file.
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(address // mmap.PAGESIZE * _ENTRY)
            found = file.read(pages * _ENTRY)
    except OSError:
        return None
    return found[_ENTRY - 1 :: _ENTRY] if len(found) == pages * _ENTRY else None


def _can_be_asked() -> bool:
    # On an emulated host the file is about the addresses of the emulator: look at what is known first.
    with mmap.mmap(-1, _PROBED * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as probe:
        for number in range(1, _PROBED, 3):
            probe[number * mmap.PAGESIZE] = 1
        anchor = ctypes.c_char.from_buffer(probe)
        tops = _tops(ctypes.addressof(anchor), len(probe))
        del anchor
    wanted = [number % 3 == 1 for number in range(_PROBED)]
    return tops is not None and [top >= 0x40 for top in tops] == wanted
