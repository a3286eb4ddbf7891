"""Places in guest code where the host does something."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.engine import Engine
from emu.cpu.pe import PE
from emu.machine.actor import HostTask


class Landings:
    """The places of one boot, by VA.

    :ivar tasks: what makes the host task that goes on when a CPU's PC gets there
    :ivar intercepts: what is done in place of the guest's function there
    :ivar labels: where a PE stops and goes on, for who looks at it there
    :ivar return_va: where a GuestCall returns to: an address whose instruction never runs; 0: nowhere
    """

    def __init__(self, engine: Engine) -> None:
        self.tasks: dict[int, Callable[[int], HostTask]] = {}
        self.intercepts: dict[int, Callable[[int], None]] = {}
        self.labels: set[int] = set()
        self.return_va = 0
        self._engine = engine

    def land_at(self, va: int, task: Callable[[int], HostTask]) -> None:
        """When a CPU's PC gets to ``va``, go on with the host task ``task(cpu)`` instead."""
        self.tasks[va] = task
        self._engine.break_at(va)

    def intercept(self, va: int, handler: Callable[[int], None]) -> None:
        """Do ``handler(cpu)`` in place of the guest's function at ``va``."""
        self.intercepts[va] = handler
        self._engine.break_at(va)

    def allow_guest_calls(self, return_va: int) -> None:
        """Let host tasks call guest functions, which return to ``return_va``: no code runs there."""
        self.return_va = return_va
        self._engine.break_at(return_va)

    def look_at(self, va: int) -> None:
        """Let a PE whose PC gets to ``va`` stop there, as if its next instruction were an operation."""
        self.labels.add(va)
        self._engine.break_at(va)

    def pass_label(self, pe: PE) -> None:
        """Let a PE that stands at a label go on from there."""
        if self.labels and pe.pc in self.labels and pe.pc not in self:
            pe.reached = pe.pc

    def __contains__(self, va: int) -> bool:
        """Tell whether a PE that comes to ``va`` stops there and the host does something."""
        return va in self.tasks or va in self.intercepts or (va == self.return_va and va != 0)

    def forget(self) -> None:
        """Forget all places: another boot begins."""
        for va in (*self.tasks, *self.intercepts, *self.labels, self.return_va):
            self._engine.unbreak(va)
        self.labels.clear()
        self.tasks.clear()
        self.intercepts.clear()
        self.return_va = 0
