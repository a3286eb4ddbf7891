"""Schedulers pick the next actor. Each module of this folder defines one :class:`SchedulerKind`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from emu.errors import InvalidCase
from emu.registry import discover, not_one_of


class Scheduler(Protocol):
    """Picks the next actor. Every pick depends only on the arguments of the calls so far and the seed."""

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return one of ``runnable`` (actor indices, ascending, not empty); ``current`` ran last."""
        ...


def attach(scheduler: Scheduler, times_of: Callable[[Sequence[int]], list[int]]) -> None:
    """Give a scheduler that goes by time the clocks of the machine that it is for: ns of each actor."""
    take = getattr(scheduler, "attach", None)
    if take is not None:
        take(times_of)


def goes_by_time(scheduler: Scheduler) -> bool:
    """Tell whether it picks by the clocks of the machine."""
    return hasattr(scheduler, "attach")


def tell_of_wait(scheduler: Scheduler) -> None:
    """Tell a scheduler that wants to know that the actor it has picked last does nothing but wait."""
    take = getattr(scheduler, "waits", None)
    if take is not None:
        take()


class Pick(NamedTuple):
    """One step of a schedule: what happens, and to which CPU or line (PA).

    ``run``: a CPU does its next operation; ``timeout``: its Poll times out; ``wake``: its WFE ends without an
    event; ``fail``: its store-exclusive fails by itself; ``delay``: cache maintenance that it issues takes
    effect later; ``part0``, ``part1``: it makes that part of its next instruction alone, and another is left
    (:mod:`emu.semantics.parts`); ``start``: a start that firmware delayed takes effect; ``w``, ``d``, ``f``,
    ``m``: the caches write back, drop or fill a line, or maintenance of it takes effect
    (:class:`emu.models.caches.Choice`). ``LOOP`` is no step: the picks behind it lead back to the state here.
    """

    kind: str
    number: int


LOOP = Pick("loop", 0)
PART = "part"  # what the kinds of picks of one part begin with


def part_of(kind: str) -> int:
    """Return the number of the part that a pick of this kind makes alone, or -1."""
    return int(kind.removeprefix(PART)) if kind.startswith(PART) else -1


@runtime_checkable
class Steering(Protocol):
    """A scheduler that also decides when time-outs, spurious wake-ups and cache choices happen."""

    def next_pick(self) -> Pick | None:
        """Return the next step; None when ``pick`` decides from now on."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerKind:
    """The definition of one scheduler.

    :ivar name: the word of ``--scheduler``
    :ivar scheduler: creates one from the text after ``NAME:``, usually a seed; ValueError when it is
        malformed
    :ivar summary: its rule, in one line
    :ivar seeded: what follows ``NAME:`` is a seed, or begins with one
    :ivar fair: an actor that can always go is picked within 40 picks for each runnable actor
    :ivar of_operations: it picks single operations, so no CPU may run freely
    :ivar walk: for ``emu explore``: from the text after ``NAME:``, a function that returns the text for
        schedule number n, from 0; None: ``emu explore`` cannot use the scheduler
    :ivar odds: returns the lines about bugs that a walk may have missed, from the text after ``NAME:``, the
        number of actors, the number of schedules, and the steps of the longest one
    """

    name: str
    scheduler: Callable[[str], Scheduler]
    summary: str
    seeded: bool = True
    fair: bool = True
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

    :raises InvalidCase: no such scheduler, or the text after its name is malformed
    """
    kind, rest = scheduler_kind(text)
    try:
        return kind.scheduler(rest)
    except ValueError as error:
        raise InvalidCase(f"scheduler={text}: {error}") from None
