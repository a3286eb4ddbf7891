"""PEs that wait in one round at one place, as a crowd: what is the same for all of them is kept once.

Each SEV wakes every CPU in a holding pen, and all but one wait again. As long as they do so together, what
becomes of each follows from how often they were woken: none of them is touched until it leaves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from emu.arch.rounds import Round
from emu.cpu.engine import UNLIMITED
from emu.machine.actor import Actor, State

if TYPE_CHECKING:
    from emu.machine.naps import Nap

Words = tuple[int, ...]


class Pen:
    """The CPUs that wait in the round ``of`` and stop at ``pc``, the VA behind its WFE.

    :ivar cpus: ascending, and ``bits`` the same as a set
    :ivar up: those of them that were woken and have not looked yet, ascending; ``up_bits`` as a set
    """

    def __init__(self, of: Round, pc: int, cost: int) -> None:
        self.of = of
        self.pc = pc
        self.cpus: list[int] = []
        self.bits = 0
        self.up: list[int] = []
        self.up_bits = 0
        self._cost = cost  # ns of a round
        self._wakes = 0  # how often all were woken
        self._woken_at = 0  # ns
        self._seen: Words = ()  # what those have seen that have looked since the last wake
        self._seen_before: Words = ()  # what all had seen before
        # By CPU: the number of wakes at which it came, and the last one after which it may look here.
        self._spans: dict[int, tuple[int, int]] = {}
        self._ends: list[tuple[int, int]] = []  # heap of (last wake, CPU); of those that have left too
        # By guard and by what the word is compared to: the CPUs.
        self._compared: list[dict[int, int]] = [{} for _ in of.guards]

    def join(self, cpu: int, nap: Nap) -> None:
        """``cpu``, which sleeps, waits with the others from now on."""
        insort(self.cpus, cpu)
        self.bits |= 1 << cpu
        last = self._wakes + nap.left - nap.rounds
        self._spans[cpu] = self._wakes, last
        heappush(self._ends, (last, cpu))
        for compared, (_, _, other, _) in zip(self._compared, nap.guards, strict=True):
            compared[other] = compared.get(other, 0) | 1 << cpu

    def leave(self, cpu: int, actor: Actor, nap: Nap) -> None:
        """Let ``actor`` and its nap be as if it had looked and slept by itself."""
        asleep = not self.up_bits >> cpu & 1
        rounds = self._wakes - self._spans.pop(cpu)[0] - (not asleep)
        if rounds:
            nap.rounds += rounds
            nap.seen = self._seen if asleep else self._seen_before
        if not asleep:
            actor.time = self._woken_at
            actor.state = State.RUNNABLE
            del self.up[bisect_left(self.up, cpu)]
            self.up_bits ^= 1 << cpu
        elif rounds:
            actor.time = self.time_after
        del self.cpus[bisect_left(self.cpus, cpu)]
        self.bits ^= 1 << cpu
        for compared, (_, _, other, _) in zip(self._compared, nap.guards, strict=True):
            compared[other] ^= 1 << cpu

    @property
    def time_after(self) -> int:
        """The time of those that have looked (ns)."""
        return self._woken_at + self._cost

    def wake(self, now: int) -> Iterator[int]:
        """All, none of which is up, are woken at ``now`` (ns); yield those that must leave for it."""
        self._wakes += 1
        self._woken_at = now
        self._seen_before = self._seen
        self._seen = ()
        self.up[:] = self.cpus
        self.up_bits = self.bits
        while self._ends and self._ends[0][0] < self._wakes:
            last, cpu = heappop(self._ends)
            if self._spans.get(cpu, (0, UNLIMITED))[1] == last:
                yield cpu

    def who_leaves(self, words: Words) -> int:
        """Return the set of those that do not wait again when they find ``words``."""
        if self._seen not in ((), words):
            return self.up_bits  # the others saw another word
        found = 0
        for compared, (compare, equal) in zip(self._compared, self.of.guards, strict=True):
            same = compared.get(words[compare.load] & 2 ** (8 * compare.size) - 1, 0)
            found |= self.bits & ~same if equal else same
        return found

    def looked(self, cpus: Sequence[int], words: Words) -> int:
        """``cpus``, neighbours in :attr:`up`, have found ``words`` and wait again; return them as a set."""
        first = bisect_left(self.up, cpus[0])
        del self.up[first : first + len(cpus)]
        bits = self.up_bits & (2 << cpus[-1]) - (1 << cpus[0])
        self.up_bits ^= bits
        self._seen = words
        return bits

    def first_of(self, cpus: Sequence[int]) -> int:
        """Return how many of ``cpus``, of whom the first is up, come before one that is not; all can run."""
        up, start = self.up, bisect_left(self.up, cpus[0])
        low, high = 1, min(len(cpus), len(up) - start)
        while low < high:
            middle = (low + high + 1) // 2
            if cpus[middle - 1] == up[start + middle - 1]:
                low = middle
            else:
                high = middle - 1
        return low
