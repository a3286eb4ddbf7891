"""Workers of a Dask cluster: the same units, on machines that need not have the files.

Each worker process (each of its threads, if it has several) unpacks the files of the :class:`Spec` once and
builds the lookup from them. What is sent with a unit is its number and its snapshot.
"""

from __future__ import annotations

import threading
from typing import Any

from emu.cluster import Connection, is_worker_killed, one_line
from emu.errors import EmuError
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.spec import Spec, load_spec
from emu.fuzz.unit import Unit, UnitResult, broken, run_unit

_PER_THREAD = 2  # units in progress for each thread, so that none is idle
_built = threading.local()  # of a worker's thread: the identity of its lookup, and the lookup
_one_at_a_time = threading.Lock()


class Cluster:
    """Workers behind a Dask scheduler."""

    def __init__(self, spec: Spec, address: str) -> None:
        """Connect to the scheduler; ``local`` and ``local:N`` start one here, with N processes.

        :param spec: with its files in it
        :raises EmuError: no scheduler there, no workers, or Dask is not installed
        """
        self._connection = Connection(address)
        self.slots = _PER_THREAD * self._connection.threads
        self._spec = self._connection.share(spec)
        self._done = self._connection.as_completed()
        self._units: dict[str, Unit] = {}

    def submit(self, unit: Unit) -> None:
        """Send a unit to a worker."""
        future = self._connection.submit(_run, self._spec, unit)
        self._units[future.key] = unit
        self._done.add(future)

    def wait(self) -> UnitResult:
        """Wait for the result of any unit in progress."""
        future: Any = next(self._done)
        unit = self._units.pop(future.key)
        if future.status == "finished":
            result: UnitResult = future.result()
            return result
        error = future.exception() if future.status == "error" else EmuError(f"cluster: unit {future.status}")
        if isinstance(error, EmuError):
            raise error
        if is_worker_killed(error):
            return broken(unit, "died", "its worker died, and so did others that tried")
        return broken(unit, type(error).__name__, one_line(error))

    def close(self) -> None:
        """Cancel the units in progress; end a cluster that was started here."""
        self._connection.close()


def _run(spec: Spec, unit: Unit) -> UnitResult:
    # On a worker.
    try:
        return run_unit(_under_test(spec), spec.points, unit, spec.matches)
    except EmuError:
        raise
    except Exception:
        _built.identity = ""  # the state of its engines is unknown
        raise


def _under_test(spec: Spec) -> UnderTest:
    if getattr(_built, "identity", "") != spec.identity:
        with _one_at_a_time:  # the assembler is not thread-safe
            _built.under_test = load_spec(spec)
        _built.identity = spec.identity
    found: UnderTest = _built.under_test
    return found
