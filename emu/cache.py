"""Folders of what is kept between two commands, under $XDG_CACHE_HOME or ~/.cache. None of it is needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def cache_dir(name: str) -> Path | None:
    """Return the folder emu/``name`` there; None: there is no home."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        root = root.expanduser()
    except RuntimeError:
        return None
    return root / "emu" / name if root.is_absolute() else None


def keep(
    file: Path, parts: Iterable[bytes | memoryview], *, files_max: int, bytes_max: int = 1 << 62
) -> None:
    """Write ``file`` whole or not at all, then delete the oldest of its suffix beyond the bounds.

    A cache that cannot be written is no error.
    """
    import tempfile

    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.writelines(parts)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
        kept = 0
        newest_first = sorted(file.parent.glob(f"*{file.suffix}"), key=_age, reverse=True)
        for number, each in enumerate(newest_first):
            kept += each.stat().st_size
            if number and (number >= files_max or kept > bytes_max):
                each.unlink()


def _age(file: Path) -> tuple[int, str]:
    return file.stat().st_mtime_ns, file.name
