"""Registers in local states."""

from __future__ import annotations

import zlib

from emu.explore.local_state import LocalState
from emu.machine import Machine


class Registers:
    """What the registers of local states hold, each looked up once; ``machine`` is the explorer's."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[int, tuple[int, ...]] = {}  # by local state

    def of(self, local: LocalState) -> tuple[int, ...]:
        """Return X0..X30 and SP of the PE in a local state (u64 each)."""
        found = self._known.get(local.number)
        if found is None:
            pe = self._machine.actors[local.cpu].pe
            pe.set_state(zlib.decompress(local.context))
            found = self._known[local.number] = tuple(pe.x)
        return found
