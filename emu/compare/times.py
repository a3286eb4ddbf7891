"""The times of a bring-up, from a trace that has the time of each record.

What the boot CPU does for a CPU is in spans, each from Milestone.BEGIN to Milestone.END. In a serial bring-up
a CPU has one; in a parallel one the first ends with the kick, and the second brings it online.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from emu.milestone import Milestone
from emu.operation import Kind
from emu.trace import Trace

PREPARE, WAIT_ALIVE, WAIT_ONLINE = "prepare and kick", "waits for alive", "waits for online"
STARTING, MMU_OFF, LOOKUP, IN_C = "starting", "MMU off", "MMU on", "in C"
WAITS, ATOMIC, CALLBACKS = "waits for the boot CPU", "atomic step", "online callbacks"
# What a CPU is about from a milestone on.
PARTS = {
    Milestone.BEGIN: PREPARE,
    Milestone.WAIT: WAIT_ALIVE,
    Milestone.SEEN: WAIT_ONLINE,
    Milestone.ALIVE: WAITS,
    Milestone.RELEASED: ATOMIC,
    Milestone.ONLINE: WAITS,
    Milestone.THREAD: CALLBACKS,
}


class Part(NamedTuple):
    """What a CPU is about from ``start`` to ``end`` (ns); ``about`` is the CPU that it is done for."""

    name: str
    start: int
    end: int
    about: int


class CpuTime(NamedTuple):
    """What the boot CPU spends on one CPU, ns: up to the kick, and from there on."""

    cpu: int
    prepare: int
    online: int

    @property
    def whole(self) -> int:
        """Both."""
        return self.prepare + self.online


@dataclass(slots=True)
class Bringup:
    """A bring-up along time.

    :ivar total: ns from the first CPU's beginning to the last one's end
    :ivar cpus: each CPU that the boot CPU has turned to, ascending
    :ivar lanes: by CPU its parts, in order of time
    :ivar begin: when the first part begins (ns)
    """

    total: int = 0
    begin: int = 0
    cpus: list[CpuTime] = field(default_factory=list)
    lanes: dict[int, list[Part]] = field(default_factory=dict)

    @property
    def prepare(self) -> int:
        """Ns for all CPUs up to their kicks."""
        return sum(each.prepare for each in self.cpus)

    @property
    def online(self) -> int:
        """Ns for all CPUs from their kicks on."""
        return sum(each.online for each in self.cpus)

    @property
    def waiting(self) -> int:
        """Ns that CPUs have waited for the boot CPU, in all."""
        return sum(
            part.end - part.start for lane in self.lanes.values() for part in lane if part.name == WAITS
        )


def bringup(trace: Trace) -> Bringup:
    """Return the times of the first bring-up in a trace whose times are recorded."""
    walk = _Walk()
    for (_number, (kind, size, actor, _pc, pa, value)), ns in _timed(trace):
        if kind == Kind.MILESTONE:
            walk.milestone(Milestone(size), actor, pa, ns)
        elif kind == Kind.POWER_ON and walk.now.get(actor, ("",))[0] != STARTING:
            walk.enter(actor, STARTING, ns)
        elif kind == Kind.MMU and value & 1 and actor in walk.now:
            walk.enter(actor, LOOKUP, ns)
        elif kind == Kind.LAND and actor:
            walk.enter(actor, IN_C, ns)
        elif kind == Kind.POWER_OFF or (kind == Kind.OUTCOME and actor):
            walk.leave(actor, ns)
        elif kind == Kind.SHUTDOWN:
            break
    return walk.close()


_KINDS = frozenset(
    (Kind.MILESTONE, Kind.POWER_ON, Kind.MMU, Kind.LAND, Kind.POWER_OFF, Kind.OUTCOME, Kind.SHUTDOWN)
)


def _timed(trace: Trace) -> Iterator[tuple[tuple[int, tuple[int, int, int, int, int, int]], int]]:
    assert len(trace.times) == len(trace), "record_times() before the run"
    return ((numbered, trace.times[numbered[0]]) for numbered in trace.numbered(_KINDS))


class _Walk:
    # Follows what each CPU is about.

    def __init__(self) -> None:
        self.found = Bringup()
        self.now: dict[int, tuple[str, int, int]] = {}  # by CPU: name, start, about
        self._span: tuple[int, int] | None = None  # CPU and start of the boot CPU's span
        self._kicked = -1
        self._prepare: dict[int, int] = {}
        self._online: dict[int, int] = {}
        self._first = self._last = -1

    def enter(self, cpu: int, name: str, ns: int, about: int = -1) -> None:
        self.leave(cpu, ns)
        self.now[cpu] = (name, ns, about if about >= 0 else cpu)

    def leave(self, cpu: int, ns: int) -> None:
        name, start, about = self.now.pop(cpu, ("", 0, 0))
        if name and ns > start:
            self.found.lanes.setdefault(cpu, []).append(Part(name, start, ns, about))

    def milestone(self, what: Milestone, actor: int, cpu: int, ns: int) -> None:
        if what in PARTS:
            # Once it has been kicked, a span of the boot CPU is for bringing it online.
            again = what is Milestone.BEGIN and cpu in self._prepare
            self.enter(actor, WAIT_ALIVE if again else PARTS[what], ns, cpu)
        match what:
            case Milestone.BEGIN:
                self._span, self._kicked = (cpu, ns), -1
                self._first = ns if self._first < 0 else self._first
            case Milestone.KICKED:
                self._kicked = ns
            case Milestone.END:
                self.leave(actor, ns)
                self._end(cpu, ns)
            case Milestone.ASKED:
                self.enter(cpu, STARTING, ns)
            case Milestone.STARTED:
                self.enter(cpu, MMU_OFF, ns)
            case Milestone.MAPPED:
                self.enter(cpu, LOOKUP, ns)
            case Milestone.THREAD_END:
                self.leave(actor, ns)

    def _end(self, cpu: int, ns: int) -> None:
        assert self._span is not None, "BEGIN comes before END"
        start = self._span[1]
        self._last = ns
        if cpu in self._prepare:
            self._online[cpu] = self._online.get(cpu, 0) + ns - start
        else:
            middle = self._kicked if self._kicked >= 0 else ns
            self._prepare[cpu], self._online[cpu] = middle - start, ns - middle

    def close(self) -> Bringup:
        for cpu in sorted(self.now):
            self.leave(cpu, max(self._last, self.now[cpu][1]))
        found = self.found
        found.begin, found.total = max(self._first, 0), self._last - self._first
        found.cpus = [CpuTime(cpu, self._prepare[cpu], self._online[cpu]) for cpu in sorted(self._prepare)]
        found.lanes = {
            cpu: sorted(found.lanes[cpu], key=lambda part: part.start) for cpu in sorted(found.lanes)
        }
        return found
