"""Where a search was interrupted, as a file: the path that it stood at, and what was left to try on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from emu.errors import InvalidCase
from emu.explore.frames import SavedFrame
from emu.explore.search import Bounds, Count
from emu.schedulers import Pick
from emu.schedulers.replay import parse_picks, picks_text

_VERSION = 2
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
    """An interrupted search.

    :ivar learned: its round had seen something new: what it covered is not sure
    :ivar units: PAs of the memory model's units that it followed
    :ivar everything: it was to go on behind the first finding
    :ivar found: schedules that show what it has found
    """

    case: str
    made_with: Bounds
    count: Count
    frames: tuple[SavedFrame, ...]
    learned: bool
    units: tuple[int, ...] = ()
    everything: bool = False
    found: tuple[tuple[Pick, ...], ...] = ()

    def bounds(self, schedules: int) -> Bounds:
        """Return its bounds, with so many schedules in all."""
        return replace(self.made_with, schedules=schedules)


def write_resume(path: Path, saved: Saved) -> None:
    """Write what :func:`read_resume` reads: whole, or the file does not change.

    :raises InvalidCase: the file cannot be written
    """
    data = {
        "version": _VERSION,
        "case": saved.case,
        "bounds": asdict(saved.made_with),
        "count": asdict(saved.count),
        "learned": saved.learned,
        "frames": [{**asdict(frame), "picks": picks_text(frame.picks)} for frame in saved.frames],
        "units": list(saved.units),
        "everything": saved.everything,
        "found": [picks_text(picks) for picks in saved.found],
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            temporary.write_text(json.dumps(data) + "\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
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
            tuple(_of_type(int, {"units": unit}, "units") for unit in _of_type(list, data, "units")),
            _of_type(bool, data, "everything"),
            tuple(
                tuple(parse_picks(_of_type(str, {"found": text}, "found")))
                for text in _of_type(list, data, "found")
            ),
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
