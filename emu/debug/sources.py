"""The text of source files, found by the names in trace records and debug information."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from emu.subject.fragment import asm_dir


def find_source(file: str, folders: Sequence[Path] = ()) -> Path | None:
    """Return the path of a source file, or None.

    :param folders: where to look besides the current folder, that of emu, and that of asm/
    """
    package = Path(__file__).resolve().parent.parent
    for path in (Path(file), package.parent / file, asm_dir().parent / file, *(at / file for at in folders)):
        if file and path.is_file():
            return path
    return None


@cache
def read_source(path: str) -> list[str]:
    """Return the lines of a source file; none for an empty path, or a file that cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if path else []
    except OSError:
        return []
