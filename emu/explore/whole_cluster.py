"""Schedules of a kernel that boots by itself on a Dask cluster, whose machines need not have the files.

A call on a worker runs some schedules in a process of its own: it boots the kernel to where they begin, or
goes on from the boot that the call before has kept, and forks there for each. A worker may have threads, and
may be no parent of processes by multiprocessing, so the process is made by hand.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emu.case import Case
from emu.cluster import Connection, is_worker_killed, one_line
from emu.errors import EmuError, InvalidCase
from emu.explore.forks import in_forks
from emu.explore.whole import WholeRun, checkpoint, run_from
from emu.host.identity import files_of
from emu.host.whole.warm import warm
from emu.subject.kernel_files import find_files
from emu.topology.read import topology_files

_BATCH = 25  # schedules of one call
_MAIN = "from emu.explore.whole_cluster import answer; answer()"
_CACHE = "XDG_CACHE_HOME"


@dataclass(frozen=True, slots=True)
class Sent:
    """The files of a case: bytes by absolute path here, and the SHA-256 of all."""

    files: Mapping[str, bytes]
    digest: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Schedules, ``cases``, of one boot to ``start``."""

    case: Case
    start: str
    known: tuple[str, ...]
    cases: tuple[Case, ...]


class WholeCluster:
    """Workers behind a Dask scheduler.

    :ivar slots: schedules that can be in progress at the same time
    """

    def __init__(self, address: str, case: Case, start: str, known: Collection[str]) -> None:
        """Connect to the scheduler at ``address``; ``local:N`` starts one here.

        :raises EmuError: no scheduler there, no workers, or Dask is not installed
        """
        sent = pack(case)
        self._connection = Connection(address)
        self.slots = _BATCH * self._connection.threads
        self._sent = self._connection.share(sent)
        self._start, self._known = start, tuple(known)

    def run(self, case: Case, cases: Sequence[Case]) -> Iterator[WholeRun]:
        """Yield what each schedule comes to, in order; ``case`` is what they are variants of.

        :raises EmuError: a worker cannot run them
        """
        batches = [
            Batch(case, self._start, self._known, tuple(cases[at : at + _BATCH]))
            for at in range(0, len(cases), _BATCH)
        ]
        futures = [self._connection.submit(run_batch, self._sent, batch) for batch in batches]
        for future in futures:
            try:
                yield from future.result()
            except EmuError:
                raise
            except Exception as error:
                died = is_worker_killed(error)
                why = "its worker died, and so did others that tried" if died else one_line(error)
                raise EmuError(f"--cluster: schedules were not run: {why}") from None

    def close(self) -> None:
        """Cancel what is in progress; end a cluster that was started here."""
        self._connection.close()


def pack(case: Case) -> Sent:
    """Return the files of ``case`` with their bytes.

    :raises InvalidCase: one cannot be read
    """
    paths: set[Path] = set()
    for field, name in files_of(case).items():
        if field == "subject":
            found = find_files(Path(name), Path(case.system_map) if case.system_map else None, None)
            paths.update(filter(None, (found.image, found.system_map, found.vmlinux)))
        else:
            paths.update(topology_files(Path(name)))
    try:
        files = {str(path.absolute()): path.read_bytes() for path in sorted(paths)}
    except OSError as error:
        raise InvalidCase(f"{error.filename}: {error.strerror}") from None
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name}\n{len(data)}\n".encode(errors="backslashreplace"))
        digest.update(data)
    return Sent(files, digest.hexdigest())


def run_batch(sent: Sent, batch: Batch) -> list[WholeRun]:
    """Run schedules on a worker, and return what each comes to, with the case that it was sent as.

    :raises EmuError: the kernel does not come to where they begin, or the process has died
    """
    folder = _unpacked(sent)
    local = replace(
        batch,
        case=_moved(batch.case, folder),
        cases=tuple(_moved(case, folder) for case in batch.cases),
    )
    done = subprocess.run(
        [sys.executable, "-c", _MAIN],
        input=pickle.dumps(local),
        capture_output=True,
        env=os.environ | {_CACHE: str(folder / "cache")},
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise EmuError(f"--cluster: the process of a worker ended with status {done.returncode}: {last}")
    found: Any = pickle.loads(done.stdout)  # noqa: S301 - our own process has written it
    if isinstance(found, EmuError):
        raise found
    return [replace(run, case=case) for run, case in zip(found, batch.cases, strict=True)]


def answer() -> None:
    """Run the batch on standard input, and write what it comes to on standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    batch: Batch = pickle.load(sys.stdin.buffer)  # noqa: S301 - from run_batch()
    found: list[WholeRun] | EmuError
    try:
        boot = checkpoint(batch.case, batch.start)
        warm(boot)
        found = list(in_forks(lambda case: run_from(boot, case, batch.known), batch.cases, 1, changes=True))
    except EmuError as error:
        found = error
    with out:
        out.write(pickle.dumps(found))


_folders: dict[str, tempfile.TemporaryDirectory[str]] = {}  # of this worker; gone when it ends
_one_at_a_time = threading.Lock()


def _unpacked(sent: Sent) -> Path:
    # The folder that has the files; it is made once for a worker.
    with _one_at_a_time:
        if sent.digest not in _folders:
            made = _folders[sent.digest] = tempfile.TemporaryDirectory(prefix="emu-")
            for name, data in sent.files.items():
                path = _inside(Path(made.name), name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return Path(_folders[sent.digest].name)


def _inside(folder: Path, name: str) -> Path:
    path = Path(name).absolute()
    return folder / "files" / path.relative_to(path.anchor)


def _moved(case: Case, folder: Path) -> Case:
    # The case with its files in the folder.
    changes = {
        field: getattr(case, field).replace(name, str(_inside(folder, name)), 1)
        for field, name in files_of(case).items()
    }
    return replace(case, **changes)
