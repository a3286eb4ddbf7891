"""Firmware in an exploration: the machine's, asked once for each call in each state that it remembers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from emu.errors import Untestable
from emu.explore.thread_stepper import ThreadStepper
from emu.machine.firmware import Effect, Firmware, PowerOff, PowerOn, Shutdown, StartLater, Suspend
from emu.operation import FirmwareCall


class Remembered(NamedTuple):
    """An answer to a call: X0 or None, what it does at once and later, what firmware remembers then."""

    result: int | None
    effects: tuple[PowerOn | PowerOff, ...]
    delayed: tuple[StartLater, ...]
    state: Hashable


class Answers:
    """Asks firmware once for each call and state."""

    def __init__(self, stepper: ThreadStepper, firmware: Firmware) -> None:
        self._platform = stepper.machine.power.platform()
        self._firmware = firmware
        self._known: dict[tuple[Hashable, ...], Remembered] = {}

    def call(self, state: Hashable, on: int, cpu: int, call: FirmwareCall) -> Remembered:
        """Return what a call of ``cpu`` comes to.

        :param state: what firmware remembers
        :param on: the CPUs that are on, as bits
        :raises Untestable: it ends the system
        """
        key = (state, on, cpu, call)
        found = self._known.get(key)
        if found is None:
            self._firmware.set_state(state)
            function_id, *rest = call
            platform = self._platform._replace(on=on)
            answer = self._firmware.call(platform, cpu, function_id & 0xFFFF_FFFF, *rest)
            effects, delayed = _split(cpu, answer.effects)
            found = Remembered(answer.result, effects, delayed, self._firmware.state())
            self._known[key] = found
        return found

    def start(self, state: Hashable, on: int, later: StartLater) -> Remembered:
        """Let a start take effect that was put off."""
        self._firmware.set_state(state)
        effects = self._firmware.start(self._platform._replace(on=on), later.request)
        return Remembered(None, *_split(later.cpu, effects), self._firmware.state())


def _split(
    cpu: int, effects: tuple[Effect, ...]
) -> tuple[tuple[PowerOn | PowerOff, ...], tuple[StartLater, ...]]:
    at_once, delayed = [], []
    for effect in effects:
        match effect:
            case Shutdown(call):
                raise Untestable(f"CPU{cpu} calls {call}: what comes then is not explored")
            case Suspend():
                raise AssertionError("firmware that suspends is a whole boot's")
            case StartLater():
                delayed.append(effect)
            case _:
                at_once.append(effect)
    return tuple(at_once), tuple(delayed)
