"""Simulated time: the latest time that any actor has reached, the generic counter, and timers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from emu.arch.counter import count_at, ns_of

# What busy actors do before a delayed one gets a turn although its time has not come: picks, and
# instructions and operations.
SPIN_PICKS = 1 << 16
SPIN_INSTRUCTIONS = 1 << 22


class Timer(NamedTuple):
    """At ``deadline`` (ns) an action of firmware or a device (cpu -1), or the end of a delay of ``cpu``."""

    deadline: int
    number: int
    cpu: int
    action: Callable[[], None] | None


class Clock:
    """``now`` is in ns, ``begun`` counts instructions and operations of host tasks, ``timers`` is a heap.

    :ivar quiet_picks: made while timers are set, since one has expired
    :ivar counter_reads: how often CNTVCT_EL0 was looked at
    :ivar sleeps: how often a PE has run to a WFE where it sleeps
    :ivar waits_for_time: no timer expires before its time, however busy the actors are
    """

    def __init__(self) -> None:
        self.now = 0
        self.begun = 0
        self.timers: list[Timer] = []
        self._number = 0
        self.quiet_picks = 0
        self._quiet_until = 0
        self.counter_reads = self.sleeps = 0
        self.waits_for_time = False

    def reach(self, time: int) -> None:
        """An actor has got to ``time``."""
        if time > self.now:
            self.now = time

    def set_timer(self, deadline: int, cpu: int, action: Callable[[], None] | None = None) -> None:
        """Add a timer; those of one deadline expire in the order in which they were set."""
        if not self.timers:  # the first one: others have not been busy in vain
            self._be_quiet()
        self._number += 1
        heappush(self.timers, Timer(deadline, self._number, cpu, action))

    def cancel(self, deadline: int, cpu: int) -> None:
        """Remove the end at ``deadline`` of a delay of ``cpu``: it has ended before."""
        gone = next((each for each in self.timers if (each.deadline, each.cpu) == (deadline, cpu)), None)
        if gone is not None and gone.action is None:
            self.timers.remove(gone)
            heapify(self.timers)

    def is_quiet_for(self, picks: int, instructions: int) -> bool:
        """Tell whether no timer expires now, nor because actors are busy for so long."""
        return not self.timers or (
            self.timers[0].deadline > self.now
            and self.quiet_picks + picks <= SPIN_PICKS
            and self.begun + instructions <= self._quiet_until
        )

    def expired(self, any_runnable: bool) -> Timer | None:
        """Remove and return the next timer that expires, and let its time come; None when none does.

        A timer expires when its time has come, when no actor can run, or when the others have been busy for
        so long that they may be waiting for it.
        """
        timers = self.timers
        if not timers or (
            any_runnable
            and timers[0].deadline > self.now
            and (self.waits_for_time or (self.quiet_picks <= SPIN_PICKS and self.begun <= self._quiet_until))
        ):
            return None
        timer = heappop(timers)
        self.reach(timer.deadline)
        self._be_quiet()
        return timer

    def _be_quiet(self) -> None:
        self.quiet_picks = 0
        self._quiet_until = self.begun + SPIN_INSTRUCTIONS

    def take_action(self, cpu: int) -> Callable[[], None] | None:
        """Remove the earliest action that is for ``cpu``, whatever the time; None when there is none."""
        timer = next((each for each in sorted(self.timers) if each.cpu == cpu and each.action), None)
        if timer is None:
            return None
        self.timers.remove(timer)
        heapify(self.timers)
        return timer.action

    def read_counter(self) -> int:
        """Return CNTVCT_EL0: simulated time at 62.5 MHz; each look is a tick later: delay loops end."""
        self.counter_reads += 1
        return self.counter()

    def counter(self, reads: int = 0) -> int:
        """Return what the counter is after so many more reads at this time."""
        return count_at(self.now) + self.counter_reads + reads

    def pass_ticks(self, ticks: int) -> None:
        """Let the time of so many ticks of the counter pass."""
        self.reach(self.now + ns_of(ticks))

    def renumber(self, new: Mapping[int, int]) -> None:
        """Follow CPUs that change their numbers: ``new`` has the number by the old one."""
        self.timers[:] = [timer._replace(cpu=new.get(timer.cpu, -1)) for timer in self.timers]

    def restart(self) -> None:
        """Set everything to 0, and forget the timers."""
        self.now = self.begun = self.counter_reads = self.sleeps = 0
        self.timers.clear()
