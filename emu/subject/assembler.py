"""Flat text to bytes with Keystone. Results are cached on disk, so that only the first run of a text pays.

What a start does without is imported where it is needed: Keystone's side for a text that is not cached.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from emu.subject.assembly_text import Flat

CACHE_FORMAT = 2  # part of the key: increment when the meaning of an entry changes


class Assembled(NamedTuple):
    """Assembled text: its bytes, the PA of every label, and the PA of each line that is an instruction."""

    code: bytes
    labels: dict[str, int]
    lines: list[int | None]


_kept: dict[str, Assembled] = {}


def assemble(flat: Flat, address: int, externals: Mapping[str, int]) -> Assembled:
    """Return the bytes of a text, and the addresses of its labels and lines.

    :param address: PA of the first byte, page aligned
    :param externals: addresses of symbols that are not labels of the text, u64
    :raises AssemblyError: FILE:LINE and the assembler's reason
    """
    what = [CACHE_FORMAT, _keystone_version(flat), address, flat.text, sorted(externals.items())]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    if key not in _kept:
        folder = cache_dir()
        found = _read_cache(folder / f"{key}.json") if folder else None
        if found is None:
            from emu.subject.keystone_parent import run_keystone

            found = run_keystone(flat, address, externals)
            if folder:
                _write_cache(folder / f"{key}.json", found)
        _kept[key] = found
    return _kept[key]


def _keystone_version(flat: Flat) -> str:
    # The name of the folder that says it. importlib.metadata looks for the same one, and takes as long to be
    # imported as all that a start of emu needs of this room.
    spec = find_spec("keystone")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.parent.glob("keystone_engine-*.*-info")):
            return found.name
    if not flat.lines:
        return ""
    raise flat.lines[0].error("keystone-engine is not installed")


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
