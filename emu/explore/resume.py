"""Where a search was interrupted, as a file: the path that it stood at, and what was left to try on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emu.errors import InvalidCase
from emu.explore.search import Bounds, Count, SavedFrame
from emu.schedulers.replay import parse_picks, picks_text

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Saved:
    """An interrupted search. ``learned``: its round had seen something new: what it covered is not sure."""

    case: str
    made_with: Bounds
    count: Count
    frames: tuple[SavedFrame, ...]
    learned: bool

    def bounds(self, schedules: int) -> Bounds:
        """Return its bounds, with so many schedules in all."""
        return replace(self.made_with, schedules=schedules)


def write_resume(path: Path, case: str, bounds: Bounds, result: Any) -> None:
    """Write what :func:`read_resume` reads.

    :param result: the :class:`emu.explore.explorer.Result` of an interrupted search
    :raises InvalidCase: the file cannot be written
    """
    frames = [{**asdict(frame), "picks": picks_text(frame.picks)} for frame in result.stack]
    data = {
        "version": _VERSION,
        "case": case,
        "bounds": asdict(bounds),
        "count": asdict(result.count),
        "learned": result.learned,
        "frames": frames,
    }
    try:
        path.write_text(json.dumps(data) + "\n")
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


def read_resume(path: Path) -> Saved:
    """Read an interrupted search.

    :raises InvalidCase: the file cannot be read, or is no such file
    """
    try:
        data = json.loads(path.read_text())
        if data["version"] != _VERSION:
            raise InvalidCase(f"{path}: version {data['version']}: this emu reads version {_VERSION}")
        frames = tuple(
            SavedFrame(**{**frame, "picks": tuple(parse_picks(frame["picks"])), "todo": tuple(frame["todo"])})
            for frame in data["frames"]
        )
        bounds, count = Bounds(**data["bounds"]), Count(**data["count"])
        return Saved(str(data["case"]), bounds, count, frames, bool(data["learned"]))
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidCase(f"{path}: no interrupted exploration: {error}") from None
