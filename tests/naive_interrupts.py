"""Interrupts of several CPUs as a list that is sorted at each question: slow, and with no code of emu.

Every interrupt has one record for each CPU that has it, an SPI one record for all. A CPU remembers the group
priorities of what it has acknowledged and not ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SPURIOUS = 1023


@dataclass
class Record:
    """One interrupt; ``senders`` are who has sent an SGI, and 0 for whatever else has made it pending."""

    intid: int
    cpu: int  # that it goes to
    is_edge: bool
    priority: int
    is_enabled: bool = True
    is_high: bool = False
    is_active: bool = False
    senders: set[int] = field(default_factory=set)

    def is_pending(self) -> bool:
        """Whether it is pending."""
        return bool(self.senders) or (self.is_high and not self.is_edge)


class Naive:
    """The interrupts of ``cpus`` CPUs: ``private`` INTIDs of each, and ``shared`` ones, which go to CPU 0.

    :param edges: INTIDs that are edge-triggered
    :param by_sender: each sender of an SGI counts, and the acknowledge names it in bits 12:10
    """

    def __init__(
        self,
        cpus: int,
        private: list[int],
        shared: list[int],
        edges: set[int],
        priority: int,
        by_sender: bool,
    ) -> None:
        self._records = [
            Record(intid, cpu, intid in edges, priority) for cpu in range(cpus) for intid in private
        ] + [Record(intid, 0, intid in edges, priority) for intid in shared]
        self._shared, self._by_sender = shared, by_sender
        self.masks, self.bits, self.is_split = [0xF0] * cpus, [3] * cpus, [False] * cpus
        self.running: list[list[int]] = [[] for _ in range(cpus)]

    def record(self, cpu: int, intid: int) -> Record:
        """Return the interrupt as ``cpu`` sees it."""
        return next(
            each
            for each in self._records
            if each.intid == intid and (intid in self._shared or each.cpu == cpu)
        )

    def _group(self, cpu: int, priority: int) -> int:
        size = 2 ** self.bits[cpu]
        return priority // size * size

    def signalled(self, cpu: int) -> Record | None:
        """Return what is signalled to ``cpu``."""
        waiting = [
            each
            for each in self._records
            if each.cpu == cpu and each.is_enabled and each.is_pending() and not each.is_active
        ]
        waiting.sort(key=lambda each: (each.priority, each.intid))
        if not waiting or waiting[0].priority >= self.masks[cpu]:
            return None
        running = min(self.running[cpu], default=None)
        first = waiting[0]
        if running is not None and self._group(cpu, first.priority) >= self._group(cpu, running):
            return None
        return first

    def set_line(self, cpu: int, intid: int, high: bool) -> None:
        """Change an input."""
        record = self.record(cpu, intid)
        if high and not record.is_high and record.is_edge:
            record.senders.add(0)
        record.is_high = high

    def send(self, cpu: int, intid: int, to: int) -> None:
        """Send an SGI."""
        self.record(to, intid).senders.add(cpu if self._by_sender else 0)

    def acknowledge(self, cpu: int) -> int:
        """Return what the acknowledge reads."""
        record = self.signalled(cpu)
        if record is None:
            return SPURIOUS
        sender = min(record.senders, default=0)
        record.senders.discard(sender)
        record.is_active = True
        self.running[cpu].append(self._group(cpu, record.priority))
        return record.intid | sender << 10

    def end(self, cpu: int, intid: int) -> None:
        """End an interrupt: the highest running priority goes."""
        if self.running[cpu]:
            self.running[cpu].remove(min(self.running[cpu]))
            if not self.is_split[cpu]:
                self.record(cpu, intid).is_active = False

    def deactivate(self, cpu: int, intid: int) -> None:
        """Deactivate an interrupt whose end was split."""
        if self.is_split[cpu]:
            self.record(cpu, intid).is_active = False
