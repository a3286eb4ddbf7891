"""Interrupt controllers. Each module of this folder defines one :class:`ControllerKind`."""

from __future__ import annotations

from emu.devices.protocol import ControllerKind
from emu.registry import discover

BESIDES = ("arrays", "bank", "icc", "interface", "interrupts", "words")
CONTROLLERS = discover(__name__, ControllerKind)
