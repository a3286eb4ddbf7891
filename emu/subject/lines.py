"""Which source line each instruction is from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath


class Lines:
    """Source lines by PA of their instructions: (file as the assembler or the compiler named it, line)."""

    def __init__(self, places: Mapping[int, tuple[str, int]]) -> None:
        self._places = places
        self._first: dict[tuple[str, int], int] = {}
        for pa in sorted(places, reverse=True):
            file, line = places[pa]
            self._first[file, line] = self._first[PurePath(file).name, line] = pa

    def at(self, pa: int) -> tuple[str, int] | None:
        """Return the file and line of the instruction at ``pa``, or None."""
        return self._places.get(pa)

    def find(self, file: str, line: int) -> int | None:
        """Return the PA of the first instruction from a line of ``file`` (its path or its name), or None."""
        return self._first.get((file, line))

    def __bool__(self) -> bool:
        return bool(self._places)
