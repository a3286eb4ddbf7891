"""Symbols of a raw Image, rebuilt from its kallsyms by the program ``kallsyms-finder``.

The program comes with vmlinux-to-elf (GPL-3): it is run, never imported. Its answer for one image is kept
under the user's cache directory by SHA-256, so that every later load is one file read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from emu.errors import Untestable

_PROGRAM = "kallsyms-finder"
_TIMEOUT_SECONDS = 600
_CURE = "give --system-map FILE"
_LINE = re.compile(rb"^([0-9a-f]{16}) ([A-Za-z?]) (\S+)$", re.M)


def cache_dir() -> Path:
    """Return the folder of cached tables: $XDG_CACHE_HOME/emu/kallsyms, or under ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(root) if os.path.isabs(root) else Path(os.path.expanduser("~/.cache"))
    return base / "emu" / "kallsyms"


def symbols_of_image(image: bytes, sha256: str, name: str) -> bytes:
    """Return the kallsyms of a raw (decompressed) Image as System.map text, sorted by VA.

    :param sha256: hex digest of ``image``, the key of the cache
    :param name: how messages call the image
    :raises Untestable: the program is missing, fails, or finds no table
    """
    cached = cache_dir() / f"{sha256}.map"
    try:
        text = cached.read_bytes()
        if text.endswith(b"\n"):
            return text
    except OSError:
        pass
    text = _clean(_run(image, name))
    if not text:
        raise Untestable(f"{name}: {_PROGRAM} found no kallsyms in it; {_CURE}")
    write_cache(cached, text)
    return text


def write_cache(path: Path, data: bytes) -> None:
    """Write ``path`` whole or not at all; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _program() -> str | None:
    # Beside this interpreter first (a venv that is not activated), then on PATH.
    beside = Path(sys.executable).parent / _PROGRAM
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(_PROGRAM)


def _run(image: bytes, name: str) -> bytes:
    program = _program()
    if program is None:
        raise Untestable(f"{name}: no symbols: pip install 'arm64-boot-emu[kallsyms]', or {_CURE}")
    with tempfile.TemporaryDirectory(prefix="emu-") as folder:
        file = Path(folder) / "Image"
        file.write_bytes(image)
        try:
            done = subprocess.run(
                [program, str(file)],
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Untestable(f"{name}: {_PROGRAM}: {error}; {_CURE}") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [
            f"status {done.returncode}"
        ]
        raise Untestable(f"{name}: {_PROGRAM} failed: {last[0]}; {_CURE}")
    return done.stdout


def _clean(text: bytes) -> bytes:
    rows = [(m[1], m[0]) for m in _LINE.finditer(text)]
    rows.sort(key=lambda row: row[0])
    return b"".join([line + b"\n" for _, line in rows])
