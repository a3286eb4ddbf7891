"""Which source line each instruction is from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

Places = Mapping[int, tuple[str, int]]


class Lines:
    """Source lines by PA of their instructions: (file as the assembler or the compiler named it, line).

    :param places: the lines, or a function that reads them on the first query: most runs query none
    """

    folders: tuple[Path, ...] = ()  # what relative names of files may be relative to, beside the obvious

    def __init__(self, places: Places | Callable[[], Places]) -> None:
        self._source = places
        self._places: Places | None = None
        self._first: dict[tuple[str, int], int] = {}

    def at(self, pa: int) -> tuple[str, int] | None:
        """Return the file and line of the instruction at ``pa``, or None."""
        return self._read().get(pa)

    def find(self, file: str, line: int) -> int | None:
        """Return the PA of the first instruction from a line of ``file`` (its path or its name), or None."""
        places = self._read()
        if not self._first:
            for pa in sorted(places, reverse=True):
                path, number = places[pa]
                self._first[path, number] = self._first[PurePath(path).name, number] = pa
        return self._first.get((file, line))

    def after(self, file: str, line: int) -> int | None:
        """Return the first line behind ``line`` of ``file`` that has an instruction, or None."""
        self.find(file, line)
        return min((number for name, number in self._first if name == file and number > line), default=None)

    def _read(self) -> Places:
        if self._places is None:
            self._places = self._source() if callable(self._source) else self._source
        return self._places

    def __bool__(self) -> bool:
        return bool(self._read())
