"""Firmware in an exploration: the same that a machine has, put back to what it remembered in each state."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

from emu.actor import State
from emu.errors import Untestable
from emu.explore.thread_stepper import PowerEffect, ThreadStepper
from emu.operation import FirmwareCall


class Firmware(Protocol):
    """What answers firmware calls, and can be put back to what it was (:class:`emu.host.psci.Psci`)."""

    def call(self, machine: Any, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Answer a call."""
        ...

    def state(self) -> Any:
        """Return what it remembers; hashable."""
        ...

    def set_state(self, state: Any) -> None:
        """Be as it was."""
        ...

    def switch_on(self, machine: Any, *arguments: Any) -> None:
        """Carry out a start that was put off: the arguments of the call that did."""
        ...


class Answer(NamedTuple):
    """What came of a call: x0 or None, what it did at once, what is remembered, what it put off.

    ``delayed`` has (CPU, arguments of :meth:`Firmware.switch_on`).
    """

    result: int | None
    effects: tuple[PowerEffect, ...]
    remembered: Any
    delayed: tuple[tuple[int, tuple[Any, ...]], ...]


class Answers:
    """Asks firmware once for each call and state."""

    def __init__(self, stepper: ThreadStepper, firmware: Firmware) -> None:
        self._stepper = stepper
        self._firmware = firmware
        self._known: dict[tuple[object, ...], Answer] = {}

    def call(self, remembered: Any, on: int, cpu: int, call: FirmwareCall) -> Answer:
        """Return what a call of ``cpu`` comes to; ``on`` has a bit for each CPU that is on.

        :raises Untestable: it ends the system
        """
        key = (remembered, on, cpu, call)
        found = self._known.get(key)
        if found is None:
            desk = _Desk(self._stepper, on)
            self._firmware.set_state(remembered)
            function_id, *rest = call
            result = self._firmware.call(desk, cpu, function_id & 0xFFFF_FFFF, *rest)
            if desk.stopped:
                raise Untestable(f"CPU{cpu} calls {desk.stopped}: what comes then is not explored")
            found = Answer(result, tuple(desk.effects), self._firmware.state(), tuple(desk.delayed))
            self._known[key] = found
        return found

    def start(self, remembered: Any, on: int, arguments: tuple[Any, ...]) -> tuple[list[PowerEffect], Any]:
        """Let a start take effect that was put off; return what it does, and what is remembered then."""
        desk = _Desk(self._stepper, on)
        self._firmware.set_state(remembered)
        self._firmware.switch_on(desk, *arguments)
        return desk.effects, self._firmware.state()


class _Desk:
    # What firmware sees of the machine, and what it does to it.

    def __init__(self, stepper: ThreadStepper, on: int) -> None:
        states = [State.RUNNABLE if on >> cpu & 1 else State.OFF for cpu in range(stepper.cpus)]
        self.actors = [SimpleNamespace(state=state) for state in states]
        self.memory = stepper.machine.memory
        self.entry_el = stepper.machine.entry_el
        self.stopped = ""
        self.effects: list[PowerEffect] = []
        self.delayed: list[tuple[int, tuple[Any, ...]]] = []

    def power_on(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        self.effects.append(("on", cpu, entry_pa, x0, el or self.entry_el))

    def power_off(self, cpu: int) -> None:
        self.effects.append(("off", cpu))

    def call_later(self, ns: int, cpu: int, action: partial[None]) -> None:
        self.delayed.append((cpu, action.args[1:]))
