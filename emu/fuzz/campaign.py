"""A campaign: units are handed to workers, their results committed as they arrive; it can be resumed.

Unit ``n`` belongs to generation ``n // generation``. Its snapshot holds what the units at least two
generations earlier have found, and it is handed out when all of those are done. So a snapshot depends on the
number of its unit alone, not on the number or speed of workers: the same seed and the same units give the
same findings and the same corpus.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from emu.errors import EmuError
from emu.fuzz.spec import Spec, check_same
from emu.fuzz.store import CampaignStore, StoredFinding, sample
from emu.fuzz.unit import CONCURRENT_EVERY, Snapshot, Unit, UnitResult, opening
from emu.fuzz.workers import Workers
from emu.lookup.case import LookupCase, Question

UNIT_CASES = 1 << 16
GENERATION = 64
_LOCK = "lock"  # file of a folder: an emu fuzz that runs in it holds its lock


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """What decides the units of a campaign, beside its subject.

    :ivar seed: seed of every random question
    :ivar unit_cases: random questions of a unit
    :ivar generation: units that get the same snapshot; more than twice as many workers would wait
    """

    seed: int = 0
    unit_cases: int = UNIT_CASES
    generation: int = GENERATION


@dataclass(frozen=True, slots=True)
class CommittedUnit:
    """The result of a unit that was committed, and the findings whose causes are new."""

    result: UnitResult
    new: tuple[StoredFinding, ...]


class Campaign:
    """The units of a campaign: done and to be done."""

    def __init__(self, store: CampaignStore, spec: Spec, settings: CampaignSettings) -> None:
        self._store = store
        self._settings = settings
        self._opening = opening(spec.points)
        self._case = LookupCase(spec.subject, 0, Question((), 0), spec.contract, spec.system_map)
        self._done = store.done()
        self._first_open = 0  # all units below are done
        self._snapshots: dict[int, Snapshot] = {}
        self._advance()

    @property
    def end(self) -> int:
        """The number after the last unit of the opening and after the last unit that is done."""
        return max(len(self._opening), max(self._done, default=-1) + 1)

    def unit(self, number: int) -> Unit | None:
        """Return a unit with its snapshot, or None while the snapshot is not complete."""
        settings = self._settings
        limit = max(0, (number // settings.generation - 1) * settings.generation)
        if limit > self._first_open:
            return None
        if number == 0:
            return replace(self._opening[0], snapshot=Snapshot(corpus=self._store.kept()))
        snapshot = sample(self._snapshot(limit), settings.seed, number)
        if number < len(self._opening):
            return replace(self._opening[number], snapshot=snapshot)
        place = number - len(self._opening)
        kind = "concurrent" if place % CONCURRENT_EVERY == CONCURRENT_EVERY - 1 else "random"
        return Unit(number, kind, seed=settings.seed, cases=settings.unit_cases, snapshot=snapshot)

    def _snapshot(self, limit: int) -> Snapshot:
        if limit not in self._snapshots:
            for old in sorted(self._snapshots)[:-2]:
                del self._snapshots[old]
            self._snapshots[limit] = self._store.snapshot(limit)
        return self._snapshots[limit]

    def _advance(self) -> None:
        while self._first_open in self._done:
            self._first_open += 1

    def run(
        self, workers: Workers, end: int | None, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[CommittedUnit]:
        """Run the units below ``end`` (None: without end) that are not done; yield after each commit.

        :param stop: polled before a unit is handed out; True ends the run when the units in progress are done
        :raises EmuError: a worker cannot build the lookup, or the database cannot be written
        """
        numbers = (n for n in _from(self._first_open, end) if n not in self._done)
        waiting = next(numbers, None)
        out = 0
        while True:
            while waiting is not None and out < workers.slots and not stop():
                unit = self.unit(waiting)
                if unit is None:
                    break
                workers.submit(unit)
                out += 1
                waiting = next(numbers, None)
            if not out:
                return
            result = workers.wait()
            out -= 1
            causes = self._store.add(result, self._case)
            self._done.add(result.number)
            self._advance()
            yield CommittedUnit(result, tuple(self._store.finding(cause) for cause in causes))


def _from(number: int, end: int | None) -> Iterator[int]:
    while end is None or number < end:
        yield number
        number += 1


def lock(folder: Path) -> TextIO:
    """Create the folder if necessary, and lock it until the file is closed or this process ends.

    :raises EmuError: another campaign runs in the folder, or it cannot be created
    """
    path = folder / _LOCK
    if folder.exists() and not folder.is_dir():
        raise EmuError(f"{folder}: not a directory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise EmuError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise EmuError(f"{folder}: another emu fuzz runs in it; wait for it, or use another --dir") from None
    return file


def is_running(folder: Path) -> bool:
    """Tell whether an ``emu fuzz`` has the folder locked."""
    try:
        with (folder / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def written(spec: Spec, settings: CampaignSettings, digests: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the database keeps, to check a resumed campaign against."""
    return {
        "subject": spec.subject,
        "contract": spec.contract,
        "system_map": spec.system_map,
        "matches": str(spec.matches),
        "points": json.dumps(spec.points),
        "files": json.dumps(digests),
        "seed": str(settings.seed),
        "unit_cases": str(settings.unit_cases),
        "generation": str(settings.generation),
    }


def check_goes_on(stored: Mapping[str, str], wanted: Mapping[str, str], where: str) -> None:
    """Check that a campaign is resumed with the settings and files that it began with.

    :raises EmuError: another subject, setting or file; or what is stored is none of these
    """
    if stored.keys() != wanted.keys():
        raise EmuError(f"{where}: damaged: its settings are {', '.join(sorted(stored))!r:.80}")
    for name, value in stored.items():
        if name not in ("files", "points") and wanted[name] != value:
            option = name.replace("_", "-")
            raise EmuError(
                f"{where}: {option}={wanted[name] or 'none'}: this campaign has {value or 'none'}; leave it "
                "out, use another --dir, or --restart"
            )
    try:
        files = json.loads(stored["files"])
    except (ValueError, RecursionError):
        files = None
    if not isinstance(files, dict):
        raise EmuError(f"{where}: damaged: files={stored['files']!r:.40}")
    check_same(files, json.loads(wanted["files"]), where)
    if stored["points"] != wanted["points"]:
        raise EmuError(f"{where}: it assembles for other NR_CPUS than when this campaign began; --restart")
