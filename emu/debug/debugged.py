"""What a debugger needs of the boot that it debugs, at whatever depth: its machine, its code, its case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from emu.case import Case
from emu.host.guest import IdleTask
from emu.machine import Machine
from emu.subject import Subject


class Code(Protocol):
    """The code that CPUs run."""

    @property
    def subject(self) -> Subject:
        """What was loaded: symbols, lines, segments."""

    @property
    def idle(self) -> Sequence[IdleTask]:
        """The idle task of each CPU, as far as the host knows them."""

    @property
    def pa_of(self) -> Callable[[int], int]:
        """Turns a kernel VA into a PA."""


class Debugged(Protocol):
    """One boot; kexec replaces its ``guest``."""

    @property
    def case(self) -> Case:
        """The case, with its identity."""

    @property
    def machine(self) -> Machine:
        """The machine that runs it."""

    @property
    def guest(self) -> Code:
        """The code that its CPUs run."""
