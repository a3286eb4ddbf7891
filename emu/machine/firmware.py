"""What answers firmware calls, as a protocol: values go in, an answer with its effects comes out.

Firmware touches no machine: its caller carries the effects out. So the exploration asks the same firmware.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, Protocol


class Platform(NamedTuple):
    """What firmware sees of the machine: the CPUs that are on, as bits, the entry EL, and RAM (PAs)."""

    on: int
    entry_el: int
    ram: range

    def is_on(self, cpu: int) -> bool:
        """Tell whether ``cpu`` is on."""
        return bool(self.on >> cpu & 1)


class PowerOn(NamedTuple):
    """Switch ``cpu`` on at ``entry_pa`` (PA) with X0 = ``x0``, at EL ``el``."""

    cpu: int
    entry_pa: int
    x0: int
    el: int


class PowerOff(NamedTuple):
    """Switch ``cpu`` off."""

    cpu: int


class StartLater(NamedTuple):
    """Call :meth:`Firmware.start` with ``request``, for ``cpu``, in ``ns`` of simulated time."""

    ns: int
    cpu: int
    request: Hashable


class Shutdown(NamedTuple):
    """End the run; ``call`` is the name of the call that asked for it."""

    call: str


class Suspend(NamedTuple):
    """Let ``cpu``, which calls, sleep until it has an interrupt, masked or not."""

    cpu: int


Effect = PowerOn | PowerOff | StartLater | Shutdown | Suspend


class Answer(NamedTuple):
    """The answer to a call: X0 (signed), or None when the call does not return; effects are in order."""

    result: int | None
    effects: tuple[Effect, ...] = ()


class Firmware(Protocol):
    """EL3 or the hypervisor: answers the calls of one conduit (``"smc"`` or ``"hvc"``)."""

    conduit: str

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        """Answer the call ``function_id`` (u32) of ``cpu``, with X1..X3."""
        ...

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        """Return the effects of a start that was put off."""
        ...

    def state(self) -> Hashable:
        """Return what the firmware remembers of its calls."""
        ...

    def set_state(self, state: Hashable) -> None:
        """Restore what :meth:`state` returned."""
        ...
