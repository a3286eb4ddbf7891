"""The text of source files, by the names that records and assemblers give them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from emu.subject.fragment import asm_dir


@cache
def source(file: str) -> list[str]:
    """Return the lines of a source file; nothing when it is not to be had."""
    package = Path(__file__).resolve().parent.parent
    for path in (Path(file), package.parent / file, asm_dir().parent / file):
        if file and path.is_file():
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []
