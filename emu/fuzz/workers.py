"""Workers as processes of this machine: each builds the lookup once; one that ends is replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, Protocol, TypeVar

from emu.cluster import children_without_sigint, one_line
from emu.errors import EmuError
from emu.fuzz.built_lookup import Point, UnderTest
from emu.fuzz.spec import Spec, load_spec
from emu.fuzz.unit import Unit, UnitResult, run_unit

_ATTEMPTS = 2  # of a unit whose worker dies
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[R_co]):
    """Work for a worker: a unit of a campaign, or a piece of a search."""

    @property
    def number(self) -> int:
        """Return its number: no two that are in progress have the same."""

    def run(self, under_test: UnderTest, points: Sequence[Point], matches: int) -> R_co:
        """Do it; the result depends on nothing but this."""

    def lost(self, cause: str, what: str) -> R_co:
        """Return the result when its workers die or fail: ``cause`` in a word, and how."""


class Workers(Protocol):
    """What runs units.

    :ivar slots: units that can be in progress at the same time
    """

    slots: int

    def submit(self, unit: Unit) -> None:
        """Start a unit; at most ``slots`` are in progress at the same time."""

    def wait(self) -> UnitResult:
        """Wait for the result of any unit in progress.

        :raises EmuError: a worker cannot build the lookup
        """

    def close(self) -> None:
        """Cancel the units in progress."""


class _WorkerProcess(Generic[R]):
    # One process, and the unit it has.

    def __init__(self, spec: Spec) -> None:
        self.unit: Task[R] | None = None
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(spec, theirs), daemon=True)
        try:
            with children_without_sigint():
                self.process.start()
        except OSError as error:  # its pipe may be broken: no reader of ours has closed that
            raise EmuError(f"a process that asks questions cannot be started: {error.strerror}") from None
        theirs.close()  # so that its death is an end of file here

    def give(self, unit: Task[R]) -> None:
        self.unit = unit
        with suppress(OSError):  # it is dead: wait() sees that
            self.pipe.send(unit)

    def take(self) -> R | EmuError | None:
        # None: it died.
        try:
            found: R | EmuError = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> int:
        # Its exit code; a negative one is a signal's number.
        self.pipe.close()
        self.process.terminate()
        self.process.join()
        return self.process.exitcode or 0


class Processes(Generic[R]):
    """Workers as processes."""

    def __init__(self, spec: Spec, jobs: int) -> None:
        self.slots = jobs
        self._spec = spec
        self._workers: list[_WorkerProcess[R]] = [_WorkerProcess(spec) for _ in range(jobs)]
        self._attempts: dict[int, int] = {}

    def submit(self, unit: Task[R]) -> None:
        """Send a unit to an idle worker."""
        self._attempts[unit.number] = 1
        next(worker for worker in self._workers if worker.unit is None).give(unit)

    def wait(self) -> R:
        """Wait for the result of any unit in progress."""
        while True:
            busy = {worker.pipe: worker for worker in self._workers if worker.unit is not None}
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                result = self._taken(busy[pipe])
                if result is not None:
                    return result

    def _taken(self, worker: _WorkerProcess[R]) -> R | None:
        unit = worker.unit
        assert unit is not None
        result = worker.take()
        if isinstance(result, EmuError):
            raise result
        if result is not None:
            worker.unit = None
            self._attempts.pop(unit.number, None)
            return result
        worker.process.join()
        code = worker.process.exitcode or 0
        worker.end()
        fresh: _WorkerProcess[R] = _WorkerProcess(self._spec)
        self._workers[self._workers.index(worker)] = fresh
        self._attempts[unit.number] += 1
        if self._attempts[unit.number] <= _ATTEMPTS:
            fresh.give(unit)
            return None
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return unit.lost("died", f"its worker died, {_ATTEMPTS} times ({how})")

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()


class ThisProcess:
    """A worker in this process."""

    slots = 1

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._under_test = load_spec(spec)
        self._units: deque[Unit] = deque()

    def submit(self, unit: Unit) -> None:
        """Queue the unit; :meth:`wait` runs it."""
        self._units.append(unit)

    def wait(self) -> UnitResult:
        """Run the next unit of the queue."""
        spec = self._spec
        return run_unit(self._under_test, spec.points, self._units.popleft(), spec.matches)

    def close(self) -> None:
        """Drop the units that were not run."""
        self._units.clear()


def run_units(spec: Spec, units: Iterable[Unit], jobs: int) -> Iterator[UnitResult]:
    """Run units in ``jobs`` processes (1: in this one); yield their results as they arrive.

    :raises EmuError: the lookup cannot be built
    """
    workers: Workers = ThisProcess(spec) if jobs == 1 else Processes(spec, jobs)
    try:
        out = 0
        for unit in units:
            if out == workers.slots:
                yield workers.wait()
                out -= 1
            workers.submit(unit)
            out += 1
        for _ in range(out):
            yield workers.wait()
    finally:
        workers.close()


def _serve(spec: Spec, pipe: Connection) -> None:
    # The main function of a worker: ends when its parent closes the pipe, or ends.
    under_test = None
    while True:
        try:
            unit: Task[Any] = pipe.recv()
        except (EOFError, OSError):
            return
        result: Any
        try:
            if under_test is None:
                under_test = load_spec(spec)
            result = unit.run(under_test, spec.points, spec.matches)
        except EmuError as error:
            result = error
        except Exception as error:  # of this unit alone: the campaign goes on
            result = unit.lost(type(error).__name__, one_line(error))
            under_test = None  # the state of its engines is unknown
        try:
            pipe.send(result)
        except OSError:
            return
