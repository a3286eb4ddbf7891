"""Where a boot of the whole depth ends, and how it has ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from emu.errors import InvalidCase
from emu.registry import nearest
from emu.subject.symbols import Symbols

PANIC, POWEROFF = "panic", "poweroff"
# What smp_init() calls behind its "Brought up" line (Linux v6.12 kernel/smp.c), and that line.
_BROUGHT_UP, _BROUGHT_UP_LINE = "smp_cpus_done", "smp: Brought up "
# How a program of kvm-unit-tests ends (lib/arm/io.c, exit()); its code is 77 when it has skipped all.
_EXIT = re.compile(r"EXIT: STATUS=(\d{1,3})")
_SKIPPED = 77


class How(Enum):
    """How a run has ended."""

    REACHED = "reached"  # where it was to end
    FOUND = "found"  # two CPUs are on one stack
    PANIC = "panic"  # the kernel panicked, and nobody asked for that
    FAILED = "failed"  # a program says itself that it has failed
    SKIPPED = "skipped"  # a program says itself that it could not do what it is for
    SHUTDOWN = "shutdown"  # firmware switched the system off, or reset it, before that
    STUCK = "stuck"  # every CPU sleeps or has ended, and no timer is set
    BOUND = "bound"  # of instructions
    UNMODELLED = "unmodelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Until:
    """Where a boot is to end; one of these.

    :ivar text: as the user says it
    :ivar symbol: VA of the function, 0: none
    :ivar line: text that a line of the log has; "": none
    :ivar is_brought_up: it is where the kernel says that all CPUs are up
    """

    text: str
    symbol: int = 0
    line: str = ""
    panic: bool = False
    poweroff: bool = False
    is_brought_up: bool = False


def exit_code(line: str) -> int | None:
    """Return the exit code that a line tells, as kvm-unit-tests print it; None: it tells none."""
    found = _EXIT.fullmatch(line)
    return int(found[1]) >> 1 if found else None


def how_of_exit(code: int) -> How:
    """Return how a program has ended that exits with ``code``."""
    return How.REACHED if not code else How.SKIPPED if code == _SKIPPED else How.FAILED


def parse_until(text: str, symbols: Symbols) -> Until:
    """Return what ``text`` says: ``panic``, ``poweroff``, a symbol, or text of a line of the log.

    :raises InvalidCase: one word that is like a symbol's name and is none
    """
    if not text:
        va = symbols.address(_BROUGHT_UP)
        return Until(
            _BROUGHT_UP_LINE.strip(), symbol=va or 0, line="" if va else _BROUGHT_UP_LINE, is_brought_up=True
        )
    if text == PANIC:
        return Until(text, panic=True)
    if text == POWEROFF:
        return Until(text, poweroff=True)
    va = symbols.address(text)
    if va is not None:
        return Until(text, symbol=va)
    if "_" in text and text.isidentifier():
        near = nearest(text, (name for name, _ in symbols))
        raise InvalidCase(
            f"until={text}: no symbol of the kernel" + (f"; did you mean {near}?" if near else "")
        )
    return Until(text, line=text)
