"""Workers of a Dask cluster: the same units, on machines that need not have the files.

Each worker process (each of its threads, if it has several) unpacks the files of the :class:`Spec` once and
builds the lookup from them. What is sent with a unit is its number and its snapshot.
"""

from __future__ import annotations

import importlib
import re
import threading
from typing import Any

from emu.errors import EmuError, InvalidCase
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.spec import Spec, load_spec, one_line
from emu.fuzz.unit import Unit, UnitResult, broken, run_unit
from emu.fuzz.workers import children_without_sigint

_PER_THREAD = 2  # units in progress for each thread, so that none is idle
_CONNECT_SECONDS = 10
_ADDRESS = re.compile(r"local(:[1-9]\d{0,3})?|(?!local:)((tcp|tls|ws|wss|ucx)://)?[^:/\s]+:\d{1,5}")
_built = threading.local()  # of a worker's thread: the identity of its lookup, and the lookup
_one_at_a_time = threading.Lock()


class Cluster:
    """Workers behind a Dask scheduler."""

    def __init__(self, spec: Spec, address: str) -> None:
        """Connect to the scheduler; ``local`` and ``local:N`` start one here, with N processes.

        :param spec: with its files in it
        :raises EmuError: no scheduler there, no workers, or Dask is not installed
        """
        if not _ADDRESS.fullmatch(address):
            raise InvalidCase(f"--cluster {address}: local, local:N (1 at least) or tcp://HOST:PORT")
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise EmuError(
                "--cluster: Dask is not installed; pip install 'arm64-boot-emu[cluster]'"
            ) from None
        self._local: Any = None
        name, _, count = address.partition(":")
        try:
            if name == "local":
                with children_without_sigint():
                    self._local = distributed.LocalCluster(
                        n_workers=int(count) if count else None, threads_per_worker=1, dashboard_address=":0"
                    )
            self._client: Any = distributed.Client(
                self._local or address, set_as_default=False, timeout=_CONNECT_SECONDS
            )
            threads = sum(self._client.nthreads().values())
        except (OSError, ValueError, TypeError) as error:
            raise EmuError(f"--cluster {address}: {one_line(error)}") from None
        if not threads:
            self.close()
            raise EmuError(f"--cluster {address}: the scheduler has no workers; start dask worker {address}")
        self.slots = _PER_THREAD * threads
        # A task, not scattered data: Dask runs it again when its result is lost with a worker.
        self._spec = self._client.submit(_same, spec, pure=False)
        self._done: Any = distributed.as_completed(loop=self._client.loop)
        self._units: dict[str, Unit] = {}

    def submit(self, unit: Unit) -> None:
        """Send a unit to a worker."""
        future = self._client.submit(_run, self._spec, unit, pure=False)
        self._units[future.key] = unit
        self._done.add(future)

    def wait(self) -> UnitResult:
        """Wait for the result of any unit in progress."""
        future = next(self._done)
        unit = self._units.pop(future.key)
        if future.status == "finished":
            result: UnitResult = future.result()
            return result
        error = future.exception() if future.status == "error" else EmuError(f"cluster: unit {future.status}")
        if isinstance(error, EmuError):
            raise error
        if type(error).__name__ == "KilledWorker":
            return broken(unit, "died", "its worker died, and so did others that tried")
        return broken(unit, type(error).__name__, one_line(error))

    def close(self) -> None:
        """Cancel the units in progress; end a cluster that was started here."""
        self._client.close()
        if self._local is not None:
            self._local.close()


def _same(spec: Spec) -> Spec:
    return spec


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
