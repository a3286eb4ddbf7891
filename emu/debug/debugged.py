"""What a debugger needs of the boot that it debugs, at whatever depth: its machine, its code, its case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from emu.case import Case
from emu.host.guest import IdleTask
from emu.machine import Machine
from emu.subject import Subject


class Code(Protocol):
    """The code that CPUs run.

    ``idle`` has the idle task of each CPU, as far as the host knows them; ``pa_of`` turns a kernel VA into a
    PA.
    """

    @property
    def subject(self) -> Subject: ...

    @property
    def idle(self) -> Sequence[IdleTask]: ...

    @property
    def pa_of(self) -> Callable[[int], int]: ...


class Debugged(Protocol):
    """One boot; kexec replaces its ``guest``."""

    @property
    def case(self) -> Case: ...

    @property
    def machine(self) -> Machine: ...

    @property
    def guest(self) -> Code: ...
