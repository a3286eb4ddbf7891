"""Symbols of a raw Image, rebuilt from its kallsyms by the program ``kallsyms-finder``.

The program comes with vmlinux-to-elf (GPL-3): it is run, never imported. It takes 2 to 4 seconds for a
distribution kernel, so its output is cached under the user's cache directory by the image's SHA-256.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from emu.errors import InvalidSubject, Untestable
from emu.subject.symbols import Symbols

_PROGRAM = "kallsyms-finder"
_TIMEOUT_SECONDS = 600
_CACHED_MAX = 32  # tables of 2 to 7 MB; the oldest go
_CURE = "give --system-map FILE"


def cache_dir() -> Path | None:
    """Return the folder of cached tables: emu/kallsyms under $XDG_CACHE_HOME or ~/.cache; None: no home."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        root = root.expanduser()
    except RuntimeError:
        return None
    return root / "emu" / "kallsyms" if root.is_absolute() else None


def symbols_of_image(image: bytes, sha256: str, name: str) -> Symbols:
    """Return the kallsyms of a raw (decompressed) Image.

    :param sha256: hex digest of ``image``, the key of the cache
    :param name: the image's name in messages
    :raises Untestable: the program is missing, fails, or finds no table
    """
    folder = cache_dir()
    cached = folder / f"{sha256}.map" if folder else None
    if cached:
        with contextlib.suppress(OSError, InvalidSubject):
            text = cached.read_bytes()
            if text.endswith(b"\n"):
                return Symbols(text)
    try:
        symbols = Symbols.parse(_run(image, name), _PROGRAM)
    except InvalidSubject as error:
        raise Untestable(f"{name}: {error}; {_CURE}") from None
    if not symbols:
        raise Untestable(f"{name}: {_PROGRAM} found no kallsyms in it; {_CURE}")
    if cached:
        _keep(cached, symbols.text)
    return symbols


def _keep(path: Path, data: bytes) -> None:
    # Written atomically. A cache that cannot be written is no error: the next load runs the program again.
    import tempfile

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
        tables = sorted(path.parent.glob("*.map"), key=lambda table: table.stat().st_mtime)
        for table in tables[:-_CACHED_MAX]:
            table.unlink()


def _program() -> str | None:
    # Search beside this interpreter first (a venv that is not activated), then on PATH.
    import shutil

    return shutil.which(_PROGRAM, path=str(Path(sys.executable).parent)) or shutil.which(_PROGRAM)


def _run(image: bytes, name: str) -> bytes:
    # The program's output: the symbols, in the form of System.map.
    import subprocess
    import tempfile

    program = _program()
    if program is None:
        raise Untestable(
            f"{name}: no usable System.map, no {_PROGRAM}: make setup (pip install '.[kallsyms]'), or {_CURE}"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="emu-") as folder:
            file = Path(folder) / "Image"
            file.write_bytes(image)
            command = [program, str(file)]
            done = subprocess.run(
                command, capture_output=True, timeout=_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL, check=False
            )
    except subprocess.TimeoutExpired:
        raise Untestable(f"{name}: {_PROGRAM} took over {_TIMEOUT_SECONDS} s; {_CURE}") from None
    except OSError as error:
        raise Untestable(f"{name}: {_PROGRAM}: {error.strerror}; {_CURE}") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        raise Untestable(f"{name}: {_PROGRAM}: status {done.returncode}: {last[:160]}; {_CURE}")
    return done.stdout
