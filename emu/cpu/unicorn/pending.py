"""What hooks leave behind for the run loop: they neither raise nor return anything."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from emu.cpu.stops import EngineStop


class EngineException(NamedTuple):
    """An exception as the engine tells it.

    :ivar number: QEMU's
    :ivar syndrome: the ESR value
    :ivar far: a VA, where the class of the exception has one
    """

    number: int
    syndrome: int
    far: int
    target_el: int


class Pending:
    """Of the run that is under way.

    :ivar stop: why the PE stops
    :ivar at_site: the stop comes from a code hook: its instruction has not run
    :ivar emulate: VA, word and class of an instruction to do in its place
    :ivar error: an exception that a hook has met
    :ivar exception: what the PE raised, or None
    :ivar fault_pa: of the last access that nothing answers
    :ivar resume_at: VA of the breakpoint to go on from, or -1
    :ivar undo: the state and memory before an access that hardware would not make: PA, bytes
    :ivar found: blocks with new sites: VA, bytes, and the sites as VA and class
    :ivar exclusive: VA and class of the last exclusive, its reads so far, whether a store fails
    """

    __slots__ = (
        "at_site",
        "emulate",
        "error",
        "exception",
        "exclusive",
        "fault_pa",
        "found",
        "resume_at",
        "stop",
        "undo",
    )

    def __init__(self) -> None:
        self.stop: EngineStop | None = None
        self.undo: tuple[bytes, int, bytes] | None = None
        self.at_site = False
        self.emulate: tuple[int, int, int] | None = None
        self.error: BaseException | None = None
        self.exception: EngineException | None = None
        self.fault_pa = 0
        self.resume_at = -1
        self.found: list[tuple[int, int, list[tuple[int, int]]]] = []
        self.exclusive = array("Q", [1, 0, 0, 0])
