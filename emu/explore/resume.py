"""Where a search was interrupted, as a file: the path that it stood at, and what was left to try on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from emu.errors import InvalidCase
from emu.explore.search import Bounds, Count, SavedFrame
from emu.schedulers.replay import parse_picks, picks_text

_VERSION = 1
_TYPES: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    list: "a list",
    int: "an integer from 0 on",
}
T = TypeVar("T")
V = TypeVar("V")


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
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise InvalidCase(f"{path}: version {data['version']!r:.20}: this emu reads version {_VERSION}")
        return Saved(
            _of_type(str, data, "case"),
            _read(Bounds, data["bounds"]),
            _read(Count, data["count"]),
            tuple(_frame(frame) for frame in _of_type(list, data, "frames")),
            _of_type(bool, data, "learned"),
        )
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidCase(f"{path}: no interrupted exploration: {error}") from None


def _frame(data: dict[str, Any]) -> SavedFrame:
    picks = tuple(parse_picks(_of_type(str, data, "picks")))
    todo = tuple(_of_type(int, {"todo": actor}, "todo") for actor in _of_type(list, data, "todo"))
    return _read(SavedFrame, {**data, "picks": picks, "todo": todo})


def _read(kind: Callable[..., T], data: dict[str, Any]) -> T:
    # A dataclass; what its fields have by default is of their type, and numbers are not negative.
    made = kind(**data)
    for name, value in data.items():
        own = {field.name: field.default for field in fields(cast("Any", made))}[name]
        if name in ("picks", "todo") or (own is None and value is None):
            continue
        _of_type(bool if isinstance(own, bool) else int, data, name)
    return made


def _of_type(kind: type[V], data: dict[str, Any], name: str) -> V:
    value = data[name]
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise ValueError(f"{name}={value!r:.40}: {_TYPES[kind]}")
    return value
