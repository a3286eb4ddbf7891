"""Firmware that a user brings: one Python function, in the place of our PSCI.

The file defines ``call(request)``, which returns the answer: a number for X0, or :func:`Reply`. What the
function remembers it returns as ``state``, which the next request has: it may keep nothing else, because an
exploration asks it for the same request only once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emu.errors import InvalidCase, Untestable
from emu.machine.firmware import Answer, Effect, Platform, PowerOff, PowerOn


@dataclass(frozen=True, slots=True)
class Request:
    """A call of SMC or HVC.

    :ivar cpu: logical number of the caller; ``on``: the CPUs that are on
    :ivar function_id: W0; ``x1`` to ``x3``: u64
    :ivar hwids: by logical CPU
    :ivar entry_el: the EL that a CPU is entered at
    :ivar state: what the last reply had; None at first
    """

    cpu: int
    function_id: int
    x1: int
    x2: int
    x3: int
    on: frozenset[int]
    hwids: tuple[int, ...]
    entry_el: int
    state: Hashable


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes of it.

    :ivar result: X0, signed; None: the call does not return, because its CPU goes off
    :ivar start: CPUs to switch on: (logical number, PA of its first instruction, X0)
    :ivar stop: CPUs to switch off
    :ivar state: what to remember; the same as before when it is left out
    """

    result: int | None = 0
    start: Sequence[tuple[int, int, int]] = ()
    stop: Sequence[int] = ()
    state: Hashable = field(default=...)


Function = Callable[[Request], "Reply | int"]
_registered: dict[str, Function] = {}


def register(function: Function) -> str:
    """Keep a function for this process and return what a header calls it."""
    name = f"registered {len(_registered)}"
    _registered[name] = function
    return name


def load_function(value: str, where: str, beside: Path) -> Function:
    """Return the function that a header names: that of a file beside it, or one that is registered.

    :raises InvalidCase: there is none
    """
    if value in _registered:
        return _registered[value]
    path = beside.parent / value
    text = read_text(path, where)
    names: dict[str, object] = {"Reply": Reply, "Request": Request}
    try:
        exec(compile(text, str(path), "exec"), names)  # noqa: S102 - the user's own file, as their code is
    except Exception as error:  # whatever it raises is the file's
        raise InvalidCase(f"{where}: firmware: {path}: {type(error).__name__}: {error}") from None
    found = names.get("call")
    if not callable(found):
        raise InvalidCase(f"{where}: firmware: {path}: it defines no call(request)")
    return found


def read_text(path: Path, where: str) -> str:
    """Return the text of a file that a header names.

    :raises InvalidCase: it cannot be read
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InvalidCase(f"{where}: firmware: {path}: {reason}") from None


class OwnFirmware:
    """A function as :class:`emu.machine.firmware.Firmware`."""

    def __init__(self, function: Function, conduit: str, hwids: Sequence[int], name: str) -> None:
        self.conduit = conduit
        self._function, self._hwids, self._name = function, tuple(hwids), name
        self._state: Hashable = None

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        """Ask the function.

        :raises Untestable: it raises, or answers what is no answer
        """
        count = len(self._hwids)
        on = frozenset(other for other in range(count) if platform.is_on(other))
        request = Request(cpu, function_id, x1, x2, x3, on, self._hwids, platform.entry_el, self._state)
        try:
            reply = self._function(request)
            if isinstance(reply, int):
                reply = Reply(reply)
            hash(reply.state)
            effects: list[Effect] = []
            for target, entry_pa, x0 in reply.start:
                if not 0 <= target < count or target in on:
                    raise ValueError(f"CPU{target} cannot be switched on: it is on, or there is none")
                effects.append(PowerOn(target, entry_pa, x0 & 2**64 - 1, platform.entry_el))
            for target in reply.stop:
                if target not in on:
                    raise ValueError(f"CPU{target} cannot be switched off: it is not on")
                effects.append(PowerOff(target))
        except Exception as error:  # whatever it raises is the function's
            raise Untestable(
                f"{self._name}: call(function_id={function_id:#x}, x1={x1:#x}) of CPU{cpu}: "
                f"{type(error).__name__}: {error}"
            ) from None
        if reply.state is not ...:
            self._state = reply.state
        return Answer(reply.result, tuple(effects))

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        """Nothing is put off."""
        raise AssertionError("a function puts no start off")

    def state(self) -> Hashable:
        """What the last reply had."""
        return self._state

    def set_state(self, state: Hashable) -> None:
        """Go back to it."""
        self._state = state
