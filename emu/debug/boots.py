"""The boots of one session: behind a kexec there is another code, with symbols of its own.

A breakpoint is a place by its name. In each boot it stands where that boot's code has the name, forwards and
backwards; where there is none it stops nobody.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from emu.case import Case
from emu.debug.debugged import Code, Debugged
from emu.debug.places import Places
from emu.debug.stops import Breakpoint
from emu.errors import InvalidCase
from emu.machine import Machine


@dataclass(frozen=True, slots=True)
class _Boot:
    # One of them, as Places wants it.
    case: Case
    machine: Machine
    guest: Code


class Boots:
    """Which code there was at which position.

    :ivar guest: the last one
    """

    def __init__(self, boot: Debugged) -> None:
        self._boot = boot
        self._from: list[int] = []  # the first position of each
        self._places: list[Places] = []
        self.guest = boot.guest
        self._add(0)

    def _add(self, position: int) -> None:
        self.guest = self._boot.guest
        self._from.append(position)
        self._places.append(Places(_Boot(self._boot.case, self._boot.machine, self.guest)))

    def begin(self, position: int, breakpoints: Iterable[Breakpoint]) -> None:
        """Another boot has begun by the step that led to a position: breakpoints go to its code."""
        self._add(position)
        self.place(breakpoints)

    def at(
        self, position: int, breakpoints: Iterable[Breakpoint]
    ) -> tuple[int, Places, dict[int, list[Breakpoint]]]:
        """Return of the boot that a position lies in: its first position, its places, breakpoints by PA."""
        index = bisect_right(self._from, position) - 1
        places = self._places[index]
        found: dict[int, list[Breakpoint]] = {}
        for made in breakpoints:
            pa = made.pa if index == len(self._from) - 1 else _pa(places, made)
            found.setdefault(pa, []).append(made)
        return self._from[index], places, found

    def place(self, breakpoints: Iterable[Breakpoint]) -> None:
        """Put breakpoints where the code of now has them."""
        if self._boot.case.kexec:
            for made in breakpoints:
                made.pa = _pa(self._places[-1], made)


def _pa(places: Places, made: Breakpoint) -> int:
    # PA of a breakpoint in one boot; -1: its code has no such place.
    try:
        return places.instruction(made.text)
    except InvalidCase:
        return -1
