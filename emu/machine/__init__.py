"""The machine: CPUs on one memory, run one grain after the other in an order that a scheduler picks."""

from emu.machine.machine import Machine

__all__ = ["Machine"]
