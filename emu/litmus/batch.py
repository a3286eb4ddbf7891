"""Many litmus tests, in one process or in several: the results and their order are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from emu.cpu.cores import CORES
from emu.errors import EmuError, InvalidSubject, Untestable
from emu.litmus.layout import Layout, place
from emu.litmus.parser import read_test
from emu.litmus.run import LitmusResult, run_test
from emu.litmus.test import LitmusTest

Outcome = LitmusResult | EmuError
A = TypeVar("A")
B = TypeVar("B")
_CHUNK = 32  # tests that are assembled together


@dataclass(frozen=True, slots=True)
class Settings:
    """How each test is run: ``model`` and ``cpu`` are names; ``schedules`` is a bound for each."""

    model: str
    cpu: str
    schedules: int


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that ``paths`` name: of a folder all ``*.litmus`` below it, by name.

    :raises InvalidSubject: a folder without any
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(path.rglob("*.litmus"))
        if not files:
            raise InvalidSubject(f"{path}: no *.litmus file in it")
        found += files
    return found


def run_files(files: Sequence[Path], settings: Settings, jobs: int) -> Iterator[tuple[Path, Outcome]]:
    """Yield the result of each file, or why there is none, in order.

    :param jobs: processes; results do not depend on it
    """
    chunks = [files[at : at + _CHUNK] for at in range(0, len(files), _CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        for chunk in chunks:
            yield from zip(chunk, run_chunk(chunk, settings), strict=True)
        return
    with ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_chunk, chunk, settings) for chunk in chunks]
        for chunk, future in zip(chunks, futures, strict=True):
            try:
                outcomes: Sequence[Outcome] = future.result()
            except BrokenProcessPool:
                outcomes = [Untestable(f"{file}: the process that ran it has died") for file in chunk]
            yield from zip(chunk, outcomes, strict=True)


def run_chunk(files: Sequence[Path], settings: Settings) -> list[Outcome]:
    """Return the result of each file, or why there is none."""
    read = [_attempt(read_test, file) for file in files]
    tests = [test for test in read if isinstance(test, LitmusTest)]
    layouts = iter(place(tests))
    return [_run(next(layouts), settings) if isinstance(test, LitmusTest) else test for test in read]


def _run(layout: Layout | EmuError, settings: Settings) -> Outcome:
    if isinstance(layout, EmuError):
        return layout
    return _attempt(lambda it: run_test(it, settings.model, CORES[settings.cpu], settings.schedules), layout)


def _attempt(function: Callable[[A], B], argument: A) -> B | EmuError:
    try:
        return function(argument)
    except EmuError as error:
        return error
