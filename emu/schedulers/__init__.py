"""Schedulers: who goes next. A module in this folder that defines ``SCHEDULER`` is registered by its NAME.

``SCHEDULER`` takes the text behind ``NAME:``, which is a seed or whatever the module says.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from emu.errors import InvalidCase


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


SCHEDULERS: dict[str, Callable[[str], Scheduler]] = {}

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    _name: str = _module.NAME
    assert _name not in SCHEDULERS, f"two schedulers named {_name}"
    SCHEDULERS[_name] = _module.SCHEDULER


def make_scheduler(text: str) -> Scheduler:
    """Return the scheduler that ``NAME`` or ``NAME:SEED`` names.

    :raises InvalidCase: no such scheduler, or what stands behind its name is not what it takes
    """
    name, _, argument = text.partition(":")
    if name not in SCHEDULERS:
        raise InvalidCase(f"scheduler={text}: not one of {', '.join(sorted(SCHEDULERS))}")
    try:
        return SCHEDULERS[name](argument)
    except ValueError as error:
        raise InvalidCase(f"scheduler={text}: {error}") from None
