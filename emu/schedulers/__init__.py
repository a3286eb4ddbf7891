"""Schedulers: who goes next. A module in this folder that defines ``SCHEDULER`` is registered by its NAME."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Protocol

from emu.errors import InvalidCase


class Scheduler(Protocol):
    """Picks the next actor; every pick depends on its arguments and the seed alone."""

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return one of ``runnable`` (actor indices, ascending, not empty); ``current`` went last."""
        ...


SCHEDULERS: dict[str, Callable[[int], Scheduler]] = {}

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    _name: str = _module.NAME
    assert _name not in SCHEDULERS, f"two schedulers named {_name}"
    SCHEDULERS[_name] = _module.SCHEDULER


def make_scheduler(text: str) -> Scheduler:
    """Return the scheduler that ``NAME`` or ``NAME:SEED`` names.

    :raises InvalidCase: no such scheduler, or the seed is no integer
    """
    name, _, seed = text.partition(":")
    if name not in SCHEDULERS:
        raise InvalidCase(f"scheduler={text}: not one of {', '.join(sorted(SCHEDULERS))}")
    try:
        return SCHEDULERS[name](int(seed or "0", 0))
    except ValueError:
        raise InvalidCase(f"scheduler={text}: the seed after ':' is an integer") from None
