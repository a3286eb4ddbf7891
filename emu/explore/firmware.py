"""Firmware in an exploration: the same that a machine has, put back to what it remembered in each state."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

from emu.actor import State
from emu.errors import Untestable
from emu.explore.thread_stepper import Effect, ThreadStepper


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
    effects: tuple[Effect, ...]
    remembered: Any
    delayed: tuple[tuple[int, tuple[Any, ...]], ...]


class Answers:
    """Asks firmware once for each call and state."""

    def __init__(self, stepper: ThreadStepper, firmware: Firmware) -> None:
        self._stepper = stepper
        self._firmware = firmware
        self._known: dict[tuple[object, ...], Answer] = {}

    def call(self, remembered: Any, off: tuple[bool, ...], cpu: int, arguments: tuple[object, ...]) -> Answer:
        """Return what a call of ``cpu`` comes to; ``off`` says who is off.

        :raises Untestable: it ends the system
        """
        key = (remembered, off, cpu, arguments)
        found = self._known.get(key)
        if found is None:
            desk = _Desk(self._stepper, off)
            self._firmware.set_state(remembered)
            function_id, *rest = arguments
            assert isinstance(function_id, int)
            result = self._firmware.call(desk, cpu, function_id & 0xFFFF_FFFF, *rest)  # type: ignore[arg-type]
            if desk.stopped:
                raise Untestable(f"CPU{cpu} calls {desk.stopped}: what comes then is not explored")
            found = Answer(result, tuple(desk.effects), self._firmware.state(), tuple(desk.delayed))
            self._known[key] = found
        return found

    def start(
        self, remembered: Any, off: tuple[bool, ...], arguments: tuple[Any, ...]
    ) -> tuple[list[Effect], Any]:
        """Let a start take effect that was put off; return what it does, and what is remembered then."""
        desk = _Desk(self._stepper, off)
        self._firmware.set_state(remembered)
        self._firmware.switch_on(desk, *arguments)
        return desk.effects, self._firmware.state()


class _Desk:
    # What firmware sees of the machine, and what it does to it.

    def __init__(self, stepper: ThreadStepper, off: tuple[bool, ...]) -> None:
        self.actors = [SimpleNamespace(state=State.OFF if is_off else State.RUNNABLE) for is_off in off]
        self.memory = stepper.machine.memory
        self.entry_el = stepper.machine.entry_el
        self.stopped = ""
        self.effects: list[Effect] = []
        self.delayed: list[tuple[int, tuple[Any, ...]]] = []

    def power_on(self, cpu: int, entry_pa: int, x0: int, el: int | None = None) -> None:
        self.effects.append(("on", cpu, entry_pa, x0, el or self.entry_el))

    def power_off(self, cpu: int) -> None:
        self.effects.append(("off", cpu))

    def call_later(self, ns: int, cpu: int, action: partial[None]) -> None:
        self.delayed.append((cpu, action.args[1:]))
