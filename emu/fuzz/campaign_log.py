"""When a campaign met what it found: a line for each finding, beside the database, which has no times.

A campaign may be run in parts: its seconds are those in which it ran, all parts together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from emu.errors import EmuError

FILE = "log.jsonl"


class _Line(NamedTuple):
    # Key of a finding, or nothing; seconds of all parts so far; questions so far.
    key: str
    seconds: float
    cases: int


class CampaignLog:
    """The log of a campaign, in its folder.

    :ivar before: seconds that the parts before this one ran
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.before = max((line.seconds for line in self._lines()), default=0.0)

    def clear(self) -> None:
        """Begin again."""
        self._path.unlink(missing_ok=True)
        self.before = 0.0

    def met(self) -> dict[str, tuple[float, int]]:
        """Return of each finding, by its key, the seconds and the questions before it was met first."""
        found: dict[str, tuple[float, int]] = {}
        for line in self._lines():
            if line.key:
                found.setdefault(line.key, (line.seconds, line.cases))
        return found

    def add(self, key: str, seconds: float, cases: int) -> None:
        """Add a finding, or with no key how long the campaign has run.

        :param seconds: of this part
        :param cases: questions of the campaign so far
        :raises EmuError: it cannot be written
        """
        line = json.dumps({"key": key, "seconds": round(self.before + seconds, 3), "cases": cases})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise EmuError(f"{self._path}: {error.strerror}") from None

    def _lines(self) -> list[_Line]:
        # Those that are whole: the last one may be cut off.
        found: list[_Line] = []
        try:
            texts = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        for text in texts:
            try:
                line = json.loads(text)
                found.append(_Line(str(line["key"]), float(line["seconds"]), int(line["cases"])))
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
                continue
        return found
