"""Bring-up strategies: what stands at ``cpu:kick_ap`` and ``cpu:bringup``, and in which passes CPUs go
through.

A module here with ``NAME`` and ``STRATEGY`` is one; ``common`` is what they share.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emu.host.kick import Kick
from emu.operation import Operation
from emu.registry import discover, part_of


class Strategy(Protocol):
    """One way of bringing the secondaries up."""

    syncs_alive: bool  # the AP waits in cpuhp_ap_sync_alive()

    def __init__(self, kick: Kick) -> None: ...

    def bring_up(self, cpus: Sequence[int], count: int) -> Generator[Operation, Any, None]:
        """bringup_nonboot_cpus(): at most ``count`` of ``cpus``, in this order."""
        ...


@dataclass(frozen=True, slots=True)
class StrategyKind:
    """What a module of this folder defines.

    :ivar name: the word of ``--bringup``
    :ivar strategy: the class
    :ivar summary: what it does, in one line
    """

    name: str
    strategy: type[Strategy]
    summary: str


BESIDES = ("common",)
STRATEGIES = part_of(discover(__name__, StrategyKind), lambda kind: kind.strategy)
