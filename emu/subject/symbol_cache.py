"""The symbols of raw Images that were read and believed, under the user's cache directory, by SHA-256."""

from __future__ import annotations

import contextlib
import hashlib

from emu.cache import cache_dir, keep
from emu.errors import InvalidSubject
from emu.subject.symbols import Symbols

_FOLDER = "symbols"
_CACHED_MAX = 32  # tables of 2 to 11 MB; the oldest go


def cached_symbols(sha256: str) -> Symbols | None:
    """Return the table that was kept for an image, or None.

    :param sha256: hex digest of the image
    """
    folder = cache_dir(_FOLDER)
    if folder:
        with contextlib.suppress(OSError, InvalidSubject):
            digest, _, text = (folder / f"{sha256}.map").read_bytes().partition(b"\n")
            if digest == _digest(text):  # a digit that has changed is another address
                return Symbols(text)
    return None


def keep_symbols(sha256: str, symbols: Symbols) -> None:
    """Keep the table of an image for the next run. A cache that cannot be written is no error.

    :param sha256: hex digest of the image
    """
    folder = cache_dir(_FOLDER)
    if folder is not None:
        parts = [_digest(symbols.text), b"\n", symbols.text]
        keep(folder / f"{sha256}.map", parts, files_max=_CACHED_MAX)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
