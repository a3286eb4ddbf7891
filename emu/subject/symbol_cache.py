"""The symbols of raw Images that were read and believed, under the user's cache directory, by SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
from array import array

from emu.cache import cache_dir, keep
from emu.errors import InvalidSubject
from emu.subject.symbols import Symbols

_FOLDER = "symbols"
# A file is a digest, the bytes of the table on a line, the table, and its lines by name (u32).
_DIGEST, _SIZE_MAX = 32, 12
_CACHED_MAX = 32  # tables of 2 to 11 MB; the oldest go


def cached_symbols(sha256: str) -> Symbols | None:
    """Return the table that was kept for an image, or None.

    :param sha256: hex digest of the image
    """
    folder = cache_dir(_FOLDER)
    if folder:
        with contextlib.suppress(OSError, ValueError, InvalidSubject):
            with (folder / f"{sha256}.map").open("rb") as file:
                digest, size, rest = file.read(_DIGEST), int(file.readline(_SIZE_MAX)), file.read()
            if digest == _digest(size, rest):  # a digit that has changed is another address
                return Symbols(rest[:size], array("I", rest[size:]))
    return None


def keep_symbols(sha256: str, symbols: Symbols) -> None:
    """Keep the table of an image for the next run. A cache that cannot be written is no error.

    :param sha256: hex digest of the image
    """
    folder = cache_dir(_FOLDER)
    if folder is not None:
        size, rest = len(symbols.text), symbols.text + symbols.by_name().tobytes()
        parts = [_digest(size, rest), b"%d\n" % size, rest]
        keep(folder / f"{sha256}.map", parts, files_max=_CACHED_MAX)


def _digest(size: int, rest: bytes) -> bytes:
    found = hashlib.sha256(b"%d\n" % size)
    found.update(rest)
    return found.digest()
