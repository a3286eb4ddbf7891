"""A kernel that boots by itself, as a debugger has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.case import Case
from emu.errors import InvalidCase
from emu.host.guest import IdleTask
from emu.host.whole.boot import WholeBoot
from emu.machine import Machine
from emu.subject import Subject


class WholeCode:
    """The kernel's code: no host knows its idle tasks."""

    def __init__(self, whole: WholeBoot) -> None:
        self.subject: Subject = whole.image.subject
        self.idle: Sequence[IdleTask] = ()
        self._pe = whole.machine.actors[0].pe
        start = self.subject.segments[0].pa + self.subject.va_offset & 2**64 - 1
        self._image = range(start, start + whole.image.image_size)
        self.pa_of: Callable[[int], int] = self._pa_of

    def _pa_of(self, va: int) -> int:
        # Kernel memory is mapped alike for all CPUs, and what is not mapped is no memory.
        if va in self._image:
            return va - self.subject.va_offset & 2**64 - 1
        pa = self._pe.translate(va) if self._pe.mmu_on else None
        return va if pa is None else pa


class WholeTarget:
    """The boot that is debugged.

    :ivar whole: it
    """

    def __init__(self, whole: WholeBoot) -> None:
        self.whole = whole
        self.machine: Machine = whole.machine
        self.guest = WholeCode(whole)

    @property
    def case(self) -> Case:
        """The case, with its identity."""
        return self.whole.case


def check_no_start(start: str) -> None:
    """Refuse ``--from`` at another depth.

    :raises InvalidCase: it is given
    """
    if start:
        raise InvalidCase("--from: --depth whole alone has that")
