"""Typed errors for bad input. A guest that misbehaves is a result, never an error."""

from __future__ import annotations


class EmuError(Exception):
    """Bad input. The message is one line: the file or name, the value, the rule, and the fix.

    ``exit_status`` is what the command line returns: 2 for bad usage or input, 125 for a subject
    that cannot be tested (the value ``git bisect run`` skips).
    """

    exit_status = 2


class InvalidCase(EmuError):
    """A case, topology or option that breaks a rule of the architecture or of the kernel."""


class InvalidContract(InvalidCase):
    """A contract of a look-up that lacks a required field, or whose values contradict each other."""


class InvalidSubject(EmuError):
    """A file that is not of the expected type: truncated, for another machine, a wrong magic."""


class Untestable(EmuError):
    """The subject is well formed but lacks what a test needs (a symbol, a layout).

    ``undefined`` lists undefined symbols, when they are the reason.
    """

    exit_status = 125
    undefined: tuple[str, ...] = ()


class AssemblyError(Untestable):
    """Text that does not assemble; the message has FILE:LINE and the assembler's reason."""


class NoAssembler(Untestable):
    """This host has none of the assemblers that text can go to."""


class EngineError(EmuError):
    """The installed Unicorn is not a build whose struct layout this package knows."""


class ReplayDiverged(InvalidCase):
    """A recorded schedule does not fit the run: another version of emu, or of the subject."""
