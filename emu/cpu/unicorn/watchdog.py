"""A thread that ends a run of the engine that takes too long: one for many runs, as its start takes 50 us."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event, Thread

_AGAIN_SECONDS = 0.005
_IDLE_SECONDS = 1.0  # without a run, after which the thread ends


class Watchdog:
    """Watches one run after the other.

    :ivar over: set when the run is to end
    """

    def __init__(self) -> None:
        self.over = Event()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._runs = 0  # begun and ended, together: odd while there is one
        self._seconds = self._sleeps = 0.0  # of the run; of the thread, at a time
        self._stop: Callable[[], None] = self.over.set  # of no engine between two runs: it may be freed

    def begin(self, stop: Callable[[], None], seconds: float) -> None:
        """Call ``stop`` when ``seconds`` are over, or up to twice as many, until :meth:`end`."""
        thread = self._thread
        if thread is not None and not thread.is_alive():  # this process is a fork of the one that it was in
            self._changed, self._thread = Condition(), None
        self.over.clear()
        with self._changed:
            self._runs += 1
            self._stop, self._seconds = stop, seconds
            if self._thread is None:
                self._thread = Thread(target=self._watch, daemon=True)
                self._thread.start()
            elif seconds < self._sleeps:
                self._changed.notify()

    def end(self) -> None:
        """``stop`` is not called from now on."""
        with self._changed:
            self._runs += 1
            self._stop = self.over.set

    def _watch(self) -> None:
        with self._changed:
            while True:
                runs = self._runs
                self._sleeps = self._seconds if runs % 2 else _IDLE_SECONDS
                if self._changed.wait(self._sleeps):
                    continue
                if runs == self._runs and runs % 2 == 0:
                    self._thread = None
                    return
                while runs == self._runs:
                    # Again and again: a stop is lost on an engine that is just being entered, or again.
                    self.over.set()
                    self._stop()
                    self._changed.wait(_AGAIN_SECONDS)
