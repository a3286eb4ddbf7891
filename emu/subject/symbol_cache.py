"""The symbols of raw Images that were read and believed, under the user's cache directory, by SHA-256."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from emu.errors import InvalidSubject
from emu.subject.symbols import Symbols

_CACHED_MAX = 32  # tables of 2 to 11 MB; the oldest go


def cache_dir() -> Path | None:
    """Return the folder of cached tables: emu/symbols under $XDG_CACHE_HOME or ~/.cache; None: no home."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        root = root.expanduser()
    except RuntimeError:
        return None
    return root / "emu" / "symbols" if root.is_absolute() else None


def cached_symbols(sha256: str) -> Symbols | None:
    """Return the table that was kept for an image, or None.

    :param sha256: hex digest of the image
    """
    folder = cache_dir()
    if folder:
        with contextlib.suppress(OSError, InvalidSubject):
            text = (folder / f"{sha256}.map").read_bytes()
            if text.endswith(b"\n"):
                return Symbols(text)
    return None


def keep_symbols(sha256: str, symbols: Symbols) -> None:
    """Keep the table of an image for the next run. A cache that cannot be written is no error.

    :param sha256: hex digest of the image
    """
    import tempfile

    folder = cache_dir()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(symbols.text)
            os.replace(temporary, folder / f"{sha256}.map")
        except BaseException:
            os.unlink(temporary)
            raise
        tables = sorted(folder.glob("*.map"), key=lambda table: table.stat().st_mtime)
        for table in tables[:-_CACHED_MAX]:
            table.unlink()
