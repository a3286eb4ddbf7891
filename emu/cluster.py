"""A connection to a Dask scheduler, whose workers run what campaigns and explorations send them."""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from emu.errors import EmuError, InvalidCase

_CONNECT_SECONDS = 10
_ADDRESS = re.compile(r"local(:[1-9]\d{0,3})?|(?!local:)((tcp|tls|ws|wss|ucx)://)?[^:/\s]+:\d{1,5}")


class Connection:
    """Workers behind a Dask scheduler.

    :ivar threads: of all workers, when it was made
    """

    def __init__(self, address: str) -> None:
        """Connect to the scheduler; ``local`` and ``local:N`` start one here, with N processes.

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
            self.threads = sum(self._client.nthreads().values())
        except (OSError, ValueError, TypeError) as error:
            raise EmuError(f"--cluster {address}: {one_line(error)}") from None
        if not self.threads:
            self.close()
            raise EmuError(f"--cluster {address}: the scheduler has no workers; start dask worker {address}")
        self._as_completed: Any = distributed.as_completed

    def share(self, value: Any) -> Any:
        """Return a future with ``value``, for calls of :meth:`submit`: it is sent to each worker once."""
        # A task, not scattered data: Dask runs it again when its result is lost with a worker.
        return self._client.submit(_same, value, pure=False)

    def submit(self, function: Any, *arguments: Any) -> Any:
        """Return a future with the result of a call on a worker."""
        return self._client.submit(function, *arguments, pure=False)

    def as_completed(self) -> Any:
        """Return an iterator over futures that are added to it, as they are done."""
        return self._as_completed(loop=self._client.loop)

    def close(self) -> None:
        """Cancel what is in progress; end a cluster that was started here."""
        self._client.close()
        if self._local is not None:
            self._local.close()


def is_worker_killed(error: BaseException) -> bool:
    """Tell whether an error of a call is that the worker died, and so did others that tried."""
    return type(error).__name__ == "KilledWorker"


def _same(value: Any) -> Any:
    return value


@contextmanager
def children_without_sigint() -> Iterator[None]:
    """Block SIGINT in the processes and threads that are started inside: their parent ends them.

    Ctrl-C sends the signal to every process of the terminal's foreground group.
    """
    resource_tracker.ensure_running()  # it would unblock the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def one_line(error: BaseException) -> str:
    """Return the type and message of an unexpected error, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
