"""Flat text to bytes with the first assembler that is installed.

Results are cached on disk, so that only the first run of a text pays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from emu.arch import boot
from emu.errors import NoAssembler
from emu.subject.assemblers import ASSEMBLERS, Assembled, Installed
from emu.subject.assembly_text import Flat

CACHE_FORMAT = 2  # part of the key: increment when the meaning of an entry changes


_kept: dict[str, Assembled] = {}


def chosen() -> Installed:
    """Return the assembler that makes the bytes of flat text on this host.

    :raises NoAssembler: none is installed
    """
    found = next((here for assembler in ASSEMBLERS.values() if (here := assembler.find())), None)
    if found is None:
        listed = "; ".join(assembler.install for assembler in ASSEMBLERS.values())
        raise NoAssembler(f"no assembler for AArch64 is installed; install one of: {listed}")
    return found


def assemble(flat: Flat, externals: Mapping[str, int]) -> Assembled:
    """Return the bytes of a text at IMAGE_PA, and the addresses of its labels and lines.

    :param externals: addresses of symbols that are not labels of the text, u64
    :raises AssemblyError: FILE:LINE and the assembler's reason
    :raises NoAssembler: none is installed
    """
    assembler = chosen()
    what = [CACHE_FORMAT, assembler.identity, boot.IMAGE_PA, flat.text, sorted(externals.items())]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    if key not in _kept:
        folder = cache_dir()
        found = _read_cache(folder / f"{key}.json") if folder else None
        if found is None:
            found = assembler.assemble(flat, externals)
            if folder:
                _write_cache(folder / f"{key}.json", found)
        _kept[key] = found
    return _kept[key]


def cache_dir() -> Path | None:
    """Return the folder of assembled text below the user's cache directory; it need not exist.

    None when the user has neither XDG_CACHE_HOME nor a home: a shared folder could be written by other users.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "emu" / "asm"
    except RuntimeError:
        return None


def _read_cache(path: Path) -> Assembled | None:
    # None when the entry is missing or damaged.
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        code = base64.b64decode(entry["code"], validate=True)
        labels = {str(name): int(pa) for name, pa in entry["labels"].items()}
        lines = [None if pa is None else int(pa) for pa in entry["lines"]]
        checksum = entry["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    found = Assembled(code, labels, lines)
    return found if _checksum(found) == checksum else None


def _write_cache(path: Path, found: Assembled) -> None:
    # A cache that cannot be written costs time only.
    entry: dict[str, Any] = {"sha256": _checksum(found), "code": base64.b64encode(found.code).decode()}
    entry |= {"labels": found.labels, "lines": found.lines}
    import tempfile

    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)


def _checksum(found: Assembled) -> str:
    places = json.dumps([sorted(found.labels.items()), found.lines])
    return hashlib.sha256(found.code + places.encode()).hexdigest()
