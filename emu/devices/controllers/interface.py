"""A CPU interface: what is signalled, and which priorities are active (Arm IHI 0048B, 3.3; IHI 0069, 4.8).

Priorities are numbers of 8 bits, 0 the highest. An interrupt preempts when its group priority is higher than
that of the running priority: the highest group priority among those of the active interrupts.
"""

from __future__ import annotations

from typing import Any

SPURIOUS = 1023
IDLE = 0x100  # the running priority while nothing is active: lower than any


class Interface:
    """The registers and the state of one CPU's interface.

    :ivar groups: interrupt groups that are enabled here: bit 0 of group 0, bit 1 of group 1
    :ivar fiq_groups: those that are signalled as FIQ, the others as IRQ
    :ivar pmr: interrupts of a higher priority are signalled, u8
    :ivar points: binary points of group 0 and of group 1, 0..7
    :ivar is_common: group 1 has the binary point of group 0: CBPR
    :ivar is_split: an end of interrupt drops the priority and does not deactivate: EOImode
    :ivar takes_all: an acknowledge for group 0 takes group 1 too: AckCtl
    :ivar is_asleep: nothing is forwarded to the interface
    :ivar wakes: it is asleep, and something would be
    :ivar active: of each group, bit n: a priority of level n is active
    :ivar running: the running priority, or IDLE
    :ivar pending: INTID of the highest priority pending interrupt or SPURIOUS, with priority and group
    :ivar irq: IRQ is asserted; and fiq: FIQ is
    """

    __slots__ = (
        "_shift",
        "active",
        "fiq",
        "fiq_groups",
        "group",
        "groups",
        "irq",
        "is_asleep",
        "is_common",
        "is_split",
        "pending",
        "pmr",
        "points",
        "priority",
        "running",
        "takes_all",
        "wakes",
    )

    def __init__(self, shift: int, points: tuple[int, int], fiq_groups: int = 0) -> None:
        self._shift = shift  # bits of a priority that are in no level of preemption
        self.fiq_groups, self.is_asleep, self.wakes = fiq_groups, False, False
        self.reset(points)
        self.set_pending(SPURIOUS, IDLE, 0)

    def reset(self, points: tuple[int, int]) -> None:
        """Give the registers their reset values; what is pending and signalled is to be found again."""
        self.groups = self.pmr = 0
        self.points, self.active = list(points), [0, 0]
        self.is_common = self.is_split = self.takes_all = False
        self.running = IDLE

    def set_pending(self, intid: int, priority: int, group: int) -> None:
        """Take the interrupt of the highest priority that is pending, or SPURIOUS."""
        self.pending, self.priority, self.group = intid, priority, group
        bits = self._subpriority_bits(group)
        is_signalled = (
            priority < self.pmr  # SPURIOUS never is
            and priority < self.running >> bits << bits
            and self.groups >> group & 1
        )
        is_fiq = self.fiq_groups >> group & 1
        self.irq, self.fiq = bool(is_signalled and not is_fiq), bool(is_signalled and is_fiq)

    def _subpriority_bits(self, group: int) -> int:
        # The table of group 1's own binary point is one off: that of a Non-secure access.
        return self.points[1] if group and not self.is_common else self.points[0] + 1

    def activate(self) -> None:
        """The pending interrupt is acknowledged: its group priority is active."""
        bits = self._subpriority_bits(self.group)
        self.active[self.group] |= 1 << (self.priority >> bits << bits >> self._shift)
        self.find_running()

    def drop(self, group: int) -> None:
        """Drop the highest priority of ``group`` that is active."""
        self.active[group] &= self.active[group] - 1
        self.find_running()

    def running_group(self) -> int:
        """Return the group that has the running priority; group 0 while nothing is active."""
        zero, one = (bits & -bits for bits in self.active)
        return int(one > 0 and (not zero or one < zero))

    def find_running(self) -> None:
        """Find the running priority after ``active`` has changed."""
        both = self.active[0] | self.active[1]
        self.running = (both & -both).bit_length() - 1 << self._shift if both else IDLE

    def state(self) -> Any:
        """Return the registers; what is pending is found again."""
        flags = self.is_common, self.is_split, self.takes_all, self.is_asleep
        return self.groups, self.fiq_groups, self.pmr, tuple(self.points), tuple(self.active), flags

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned."""
        self.groups, self.fiq_groups, self.pmr, points, active, flags = state
        self.points, self.active = list(points), list(active)
        self.is_common, self.is_split, self.takes_all, self.is_asleep = flags
        self.find_running()
