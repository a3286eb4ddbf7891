"""What hooks leave behind for the run loop: they neither raise nor return anything."""

from __future__ import annotations

from array import array

from emu.cpu.stops import Stop


class Pending:
    """Of the run that is under way.

    :ivar stop: why the PE stops
    :ivar at_site: the stop comes from a code hook: its instruction has not run
    :ivar emulate: VA, word and class of an instruction to do in its place
    :ivar error: an exception that a hook has met
    :ivar exception: QEMU's number of the exception that the PE raised, or -1
    :ivar fault_pa: of the last access that nothing answers
    :ivar resume_at: VA of the breakpoint to go on from, or -1
    :ivar found: blocks with new sites: VA, bytes, and the sites as VA and class
    :ivar exclusive: VA and class of the last exclusive; for a store: reads so far, whether it fails
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
    )

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.at_site = False
        self.emulate: tuple[int, int, int] | None = None
        self.error: BaseException | None = None
        self.exception = -1
        self.fault_pa = 0
        self.resume_at = -1
        self.found: list[tuple[int, int, list[tuple[int, int]]]] = []
        self.exclusive = array("Q", [1, 0, 0, 0])
