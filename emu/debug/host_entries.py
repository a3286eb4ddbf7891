"""Where host tasks have entered functions of the kernel that the host plays: for breakpoints on these.

A task enters a function when it stands at the function's first operation: the one before was outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from emu.host.played import played_by
from emu.machine import Machine
from emu.machine.actor import Actor, generators


class HostEntry(NamedTuple):
    """The functions that the host task of ``cpu`` has entered at ``position``, the outermost first."""

    position: int
    cpu: int
    names: tuple[str, ...]


class HostEntries:
    """The functions that the host tasks of a machine enter, from now on."""

    def __init__(self, machine: Machine, position: Callable[[], int]) -> None:
        """Observe the machine's host tasks.

        :param position: gives the number of steps made, without the one under way
        """
        self._position = position
        self._entries: list[HostEntry] = []
        self._stands: dict[int, list[object]] = {
            cpu: list(generators(actor.task)) for cpu, actor in enumerate(machine.actors)
        }
        machine.tasks.advanced = self._advanced

    def _advanced(self, cpu: int, actor: Actor) -> None:
        before, now = self._stands.get(cpu, []), generators(actor.task)
        self._stands[cpu] = list(now)  # keeps them, so that no other is at their address
        known = {id(each) for each in before}
        names = tuple(name for each in now if id(each) not in known for name in played_by(each.gi_code))
        if names:
            self._entries.append(HostEntry(self._position() + 1, cpu, names))

    def at(self, position: int) -> Iterator[HostEntry]:
        """Yield what the last step, which has led to ``position``, has entered."""
        for entry in reversed(self._entries):
            if entry.position != position:
                return
            yield entry

    def back(self) -> Iterator[HostEntry]:
        """Yield all entries, the last first."""
        return reversed(self._entries)
