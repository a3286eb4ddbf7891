"""Host tasks at any point of their history: a generator cannot be copied, so another one is fed the same."""

from __future__ import annotations

from collections.abc import Callable

from emu.explore.local_state import TaskHistory
from emu.machine.actor import HostTask
from emu.operation import EVENTS, Operation

_KEPT_MAX = 256


class Tasks:
    """Generators by the point at which they stand; ``make`` begins one for a root."""

    def __init__(self, make: Callable[[tuple[object, ...]], HostTask]) -> None:
        self._make = make
        self._kept: dict[TaskHistory, tuple[HostTask, Operation | None]] = {}

    def keep(self, history: TaskHistory, task: HostTask, pending: Operation | None) -> None:
        """Keep ``task``, which has this history and does ``pending`` next; None: it sleeps."""
        self._kept[history] = (task, pending)
        if len(self._kept) > _KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def take(self, history: TaskHistory) -> tuple[HostTask, Operation | None]:
        """Return a task with this history and what it is about to do; it is the caller's, who moves it on."""
        kept = self._kept.pop(history, None)
        if kept is not None:
            return kept
        task = self._make(history.root)
        pending = _next(task, None)
        for given in history.values():
            pending = _next(task, given)
        return task, pending


def _next(task: HostTask, given: object) -> Operation:
    operation = task.send(given)
    while isinstance(operation, EVENTS):
        operation = task.send(None)
    return operation
