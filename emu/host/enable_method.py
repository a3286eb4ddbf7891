"""Enable-methods: how the boot CPU gets a secondary out of firmware (the kernel's struct cpu_operations)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from emu.errors import InvalidCase
from emu.host.guest import Guest
from emu.machine import Machine
from emu.operation import Operation


class EnableMethod(Protocol):
    """The kernel's struct cpu_operations, as host tasks of the boot CPU."""

    name: str
    parallel: bool  # CPUs may be kicked before earlier ones have left
    can_die: bool  # a CPU can be switched off again

    def power_on(self, machine: Machine) -> None:
        """Put the secondaries where firmware leaves them at reset."""
        ...

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """Before the first boot of ``cpu``: tell firmware where the kernel's code is."""
        ...

    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """Kick ``cpu``; give 0 or a negative errno."""
        ...

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """After ``cpu`` has come up, or has been given up."""
        ...

    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """On ``cpu``: leave for good; does not return where ``can_die``."""
        ...

    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """Make sure that ``cpu`` is gone; give 0 or a negative errno."""
        ...


def make_enable_method(name: str, guest: Guest) -> EnableMethod:
    """Return the enable-method called ``name`` for this guest.

    :raises InvalidCase: there is none of that name
    """
    from emu.host.psci import PsciOperations
    from emu.host.spin_table import SpinTable

    methods: dict[str, Callable[[Guest], EnableMethod]] = {"psci": PsciOperations, "spin-table": SpinTable}
    if name not in methods:
        raise InvalidCase(f"enable-method={name}: not one of {', '.join(methods)}")
    return methods[name](guest)
