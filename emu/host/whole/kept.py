"""Boots that are kept at a place, on disk, so that the next command begins there.

A file has what the run to there has changed: pages of memory, and the state of all objects of the boot
(:mod:`emu.host.whole.graph`). Its name is a digest of all that the run depends on: the case with the identity
of its files, the place, and emu itself. One that is damaged, or of something else, is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import pickle
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from emu.cache import cache_dir, keep
from emu.case import Case
from emu.host.choices import BootConfig
from emu.host.whole.boot import WholeBoot, build_whole, run_to
from emu.host.whole.graph import Graph
from emu.memory import PAGE_SIZE, Memory
from emu.subject.kernel import KernelImage
from emu.topology import Topology
from emu.version import VERSION

FILES_MAX, BYTES_MAX = 16, 1 << 30
_MAGIC = b"EMUKEPT3"
_HEAD = struct.Struct("<8sQQQ")  # magic, CRC-32 of what follows the head, bytes of the state, pages
_Bytes = bytes | memoryview


def boot_at(case: Case, start: str, option: str = "from") -> WholeBoot:
    """Return the boot of ``case`` where a CPU first gets to ``start``: one that was kept, or a new one.

    :param option: what names ``start``, for messages
    :raises InvalidCase: there is no such symbol, or the boot does not come to it
    """
    boot = build_whole(case)
    bring_to(boot, start, option)
    return boot


def bring_to(boot: WholeBoot, start: str, option: str = "from") -> None:
    """Bring ``boot``, which has not run, to where a CPU first gets to ``start``, as :func:`boot_at` does.

    :raises InvalidCase: there is no such symbol, or the boot does not come to it
    """
    folder = cache_dir("whole")
    if folder is None:
        run_to(boot, start, option)
        return
    kept = _Kept(boot)
    file = folder / f"{_key(boot, start)}.boot"
    if not kept.restore(file):
        kept.remember()
        run_to(boot, start, option)
        kept.write(file)
    boot.machine.trace.case = boot.case.text()  # which of those that share it has kept it


def _key(boot: WholeBoot, start: str) -> str:
    # Whether it is recorded from there on is no matter.
    parts = [replace(boot.case, record_from="").text(), start, VERSION, _sources(), sys.version]
    return hashlib.sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()


@cache
def _sources() -> str:
    # What tells this emu from another one of the same version: sizes and times of its modules.
    found, root = hashlib.sha256(), str(Path(__file__).parents[2])
    for path, size, time in _modules(root):
        found.update(f"{path.removeprefix(root)} {size} {time}\n".encode())
    return found.hexdigest()


def _modules(folder: str) -> Iterator[tuple[str, int, int]]:
    # Path, bytes and time (ns) of each module; a Path for each takes four times as long.
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _modules(entry.path)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def graph_of(boot: WholeBoot) -> Graph:
    """Return the objects of ``boot`` whose state a run changes; memory and the engine have their own."""
    machine = boot.machine
    pes = tuple(actor.pe for actor in machine.actors)
    leaves = (machine.engine, machine.trace.flow, KernelImage, BootConfig, Topology, Case, Memory)
    return Graph(boot, pes, leaves)


class _Kept:
    # A boot as it was built: to be brought to a place that is kept, or kept when it has come there.

    def __init__(self, boot: WholeBoot) -> None:
        self._boot = boot
        self._memory = boot.machine.memory
        self._graph = graph_of(boot)
        self._before = b""

    def remember(self) -> None:
        # Behind what the host has placed there is nothing yet.
        self._before = bytes(self._memory.view[: self._boot.placed_end - self._memory.base])

    def write(self, file: Path) -> None:
        """Keep the boot as it is now; one that has what no other process can have is not kept."""
        try:
            state = self._graph.dump()
        except (pickle.PicklingError, TypeError, AttributeError):
            return
        numbers = array("Q", self._changed())
        parts: list[_Bytes] = [state, self._graph.shape.encode(), numbers.tobytes()]
        parts += [self._page(number) for number in numbers]
        head = _HEAD.pack(_MAGIC, _sum_of(parts), len(state), len(numbers))
        keep(file, [head, *parts], files_max=FILES_MAX, bytes_max=BYTES_MAX)

    def restore(self, file: Path) -> bool:
        """Bring the boot to where the one was that is kept; tell whether there is one."""
        try:
            with file.open("rb") as opened:
                data = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # ValueError: an empty file
            return False
        if len(data) < _HEAD.size:
            return False
        magic, sum_of_rest, size, count = _HEAD.unpack_from(data)
        if magic != _MAGIC or sum_of_rest != _sum_of([data[_HEAD.size :]]):
            return False
        state, rest = data[_HEAD.size :][:size], data[_HEAD.size + size :]
        pages_at = len(rest) - count * PAGE_SIZE
        shape, numbers = (
            rest[: pages_at - 8 * count],
            array("Q", bytes(rest[pages_at - 8 * count : pages_at])),
        )
        if shape != self._graph.shape.encode():
            return False
        self._graph.load(bytes(state))
        at = pages_at
        for first, stop in runs(numbers):
            size = (stop - first) * PAGE_SIZE
            self._memory.view[first * PAGE_SIZE : stop * PAGE_SIZE] = rest[at : at + size]
            at += size
        self._boot.machine.engine.forget_code()
        with contextlib.suppress(OSError):
            file.touch()  # it is the last to go
        return True

    def _page(self, number: int) -> memoryview:
        return self._memory.view[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]

    def _changed(self) -> Iterator[int]:
        before, empty = self._before, bytes(PAGE_SIZE)
        for at, page in self._memory.pages():
            if page != (before[at : at + PAGE_SIZE] or empty):
                yield at // PAGE_SIZE


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of each run of numbers that follow each other; they go upwards."""
    first = stop = -1
    for number in numbers:
        if number != stop:
            if stop > first:
                yield first, stop
            first = number
        stop = number + 1
    if stop > first:
        yield first, stop


def _sum_of(parts: Iterable[_Bytes]) -> int:
    # It is there against damage, and takes less than half the time of a digest.
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return found
