"""Bring-up strategies: what stands at ``cpu:kick_ap`` and ``cpu:bringup``, and in which passes CPUs go
through.

A module here with ``NAME`` and ``STRATEGY`` is one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Generator, Sequence
from typing import Any, Protocol

from emu.host.kick import Kick
from emu.operation import Operation


class Strategy(Protocol):
    """One way of bringing the secondaries up."""

    syncs_alive: bool  # the AP waits in cpuhp_ap_sync_alive()

    def __init__(self, kick: Kick) -> None: ...

    def bring_up(self, cpus: Sequence[int], count: int) -> Generator[Operation, Any, None]:
        """bringup_nonboot_cpus(): at most ``count`` of ``cpus``, in this order."""
        ...


STRATEGIES: dict[str, type[Strategy]] = {}

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    if not hasattr(_module, "STRATEGY"):
        continue  # what they share
    _name: str = _module.NAME
    assert _name not in STRATEGIES, f"two strategies named {_name}"
    STRATEGIES[_name] = _module.STRATEGY
