"""Why an engine stopped running a PE. A guest's fault is one of the reasons, not an exception.

What the PE did until then is operations (:mod:`emu.operation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emu.operation import Kind


@dataclass(frozen=True, slots=True)
class StepLimit:
    """The instructions or the operation asked for are done; the PE can go on."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """WFE with the event register clear, or WFI: the PE sleeps; its PC is past the instruction."""

    kind: Literal[Kind.WFE, Kind.WFI]


@dataclass(frozen=True, slots=True)
class Call:
    """SMC or HVC was executed; the PC is past it. ``conduit`` is ``"smc"`` or ``"hvc"``."""

    conduit: str
    immediate: int


@dataclass(frozen=True, slots=True)
class Raised:
    """A synchronous exception is pending and not delivered.

    ``syndrome`` is the whole ESR value (EC, IL, ISS), ``far`` a VA or None, ``target_el`` 1..3;
    ``preferred_return`` is the VA that ELR gets.
    """

    syndrome: int
    far: int | None
    target_el: int
    preferred_return: int


@dataclass(frozen=True, slots=True)
class Reached:
    """The PC is at a breakpoint; the instruction there has not run."""

    va: int


@dataclass(frozen=True, slots=True)
class SelfBranch:
    """A branch to itself: the PE never does anything again."""

    va: int


@dataclass(frozen=True, slots=True)
class ConstraintViolation:
    """The guest does what hardware punishes with an exception, and the engine does not raise.

    :ivar constraint: its name in :mod:`emu.constraints`
    :ivar va: of the instruction, which has not been executed
    :ivar pa: of the access
    :ivar raised: the exception
    """

    constraint: str
    va: int
    pa: int
    raised: Raised


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An instruction or register that is not modelled; nothing was guessed."""

    what: str
    va: int


EngineStop = StepLimit | Waiting | Call | Raised | Reached | SelfBranch | ConstraintViolation | Unsupported
STEP_LIMIT = StepLimit()
_EC_SVC, _EC_FETCH = 0x15, (0x20, 0x21, 0x22)  # aborts of the fetch, a PC that is not aligned


def single_steps(retired: int, stop: EngineStop) -> int:
    """Return how many runs of one instruction a longer run is that ended with ``stop``.

    :param retired: instructions that have retired in it
    """
    ec = stop.syndrome >> 26 if isinstance(stop, Raised) else -1
    if ec in _EC_FETCH:
        return max(retired, 1)  # a fetch fails in the run of the instruction before it
    has_retired = isinstance(stop, StepLimit | Waiting | Call) or ec == _EC_SVC
    return retired if has_retired else retired + 1
