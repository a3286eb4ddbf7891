"""Schedulers: which actor goes next. A module here is one, and :class:`SchedulerKind` is what it defines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from emu.errors import InvalidCase
from emu.registry import discover, not_one_of


class Scheduler(Protocol):
    """Picks the next actor; every pick depends on its arguments and the seed alone."""

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return one of ``runnable`` (actor indices, ascending, not empty); ``current`` went last."""
        ...


class Pick(NamedTuple):
    """One step of a schedule: what happens, and to which CPU or line (PA).

    ``run``: a CPU does its next operation; ``timeout``: its Poll gives up; ``wake``: its WFE ends without an
    event; ``start``: a start that firmware delays; ``w``, ``d``, ``f``: the caches write a line back, drop
    it, fill it (:class:`emu.models.caches.Choice`).
    """

    kind: str
    number: int


@runtime_checkable
class Steering(Protocol):
    """A scheduler that also says when time-outs, spurious wake-ups and cache choices happen."""

    def next_pick(self) -> Pick | None:
        """Return what happens next; None when it leaves that to ``pick`` from now on."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerKind:
    """What a module of this folder defines.

    :ivar name: the word of ``--scheduler``
    :ivar scheduler: makes one from the text behind ``NAME:``, a seed or what else the module says;
        ValueError where that is nothing of the kind
    :ivar summary: what it does, in one line
    :ivar of_operations: it picks single operations, so a CPU must not run freely
    :ivar walk: for ``emu explore``: takes the text behind ``NAME:`` and returns that of the schedule with a
        given number, from 0 on; None: the scheduler is not for that
    :ivar odds: what a walk says of the bugs that it may have missed: the lines, for the text behind
        ``NAME:``, the number of actors, of schedules, and of steps of the longest one
    """

    name: str
    scheduler: Callable[[str], Scheduler]
    summary: str
    of_operations: bool = False
    walk: Callable[[str], Callable[[int], str]] | None = None
    odds: Callable[[str, int, int, int], str] | None = None


SCHEDULERS = discover(__name__, SchedulerKind)


def scheduler_kind(text: str) -> tuple[SchedulerKind, str]:
    """Return the kind that ``NAME`` or ``NAME:REST`` names, and the rest.

    :raises InvalidCase: no such scheduler
    """
    name, _, rest = text.partition(":")
    if name not in SCHEDULERS:
        raise InvalidCase(f"scheduler={text}: {not_one_of(name, SCHEDULERS)}")
    return SCHEDULERS[name], rest


def make_scheduler(text: str) -> Scheduler:
    """Return the scheduler that ``NAME`` or ``NAME:SEED`` names.

    :raises InvalidCase: no such scheduler, or what stands behind its name is not what it takes
    """
    kind, rest = scheduler_kind(text)
    try:
        return kind.scheduler(rest)
    except ValueError as error:
        raise InvalidCase(f"scheduler={text}: {error}") from None
