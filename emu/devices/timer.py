"""The generic timer of each CPU: physical, virtual, and the two of EL2 (Arm DDI 0487, D12).

The counter runs at 62.5 MHz from the start of simulated time. The line of a timer is high while the timer is
enabled, its condition is met and its interrupt is not masked.
"""

from __future__ import annotations

from typing import Any

from emu.arch.counter import count_at, ns_of
from emu.arch.sysreg import EVNTEN, Encoding
from emu.devices.protocol import Board

PHYSICAL, VIRTUAL, HYP_PHYSICAL, HYP_VIRTUAL = range(4)  # lines

_NS_MAX = 1 << 63  # simulated time ends there, after 292 years: what is later never happens
_COUNTS = 1 << 64
_U32, _U64 = (1 << 32) - 1, _COUNTS - 1
_ENABLE, _IMASK, _ISTATUS = 1, 2, 4  # of the control registers
_TVAL, _CTL, _CVAL = range(3)  # op2
_EVNTDIR, _EVNTI = 1 << 3, (7, 4)  # of CNTKCTL_EL1 and CNTHCTL_EL2

# The line and op2 of each register.
_REGISTERS: dict[Encoding, tuple[int, int]] = {
    (3, op1, 14, crm, op2): (line, op2)
    for line, (op1, crm) in enumerate(((3, 2), (3, 3), (4, 2), (4, 3)))  # CNTP, CNTV, CNTHP, CNTHV
    for op2 in (_TVAL, _CTL, _CVAL)
}


def next_event(control: int, offset: int, now: int) -> int | None:
    """Return when the event stream sends its next event after ``now`` (ns); None: it sends none.

    :param control: CNTKCTL_EL1 for the virtual count, CNTHCTL_EL2 for the physical one
    :param offset: what the physical count is ahead, u64: CNTVOFF_EL2 or 0
    :source: Arm DDI 0487, D12.2.3
    """
    if not control & EVNTEN:
        return None
    half = 1 << (control >> _EVNTI[1] & 15)
    wanted = 0 if control & _EVNTDIR else half  # the bit goes from 1 to 0, or from 0 to 1
    count = count_at(now)
    return ns_of(count + 1 + (wanted - (count - offset) - 1) % (2 * half))


class _Timer:
    # One comparator. Its own count is the physical one less `offset`, modulo 2**64.

    __slots__ = ("control", "cval", "high", "offset")

    def __init__(self) -> None:
        self.control = self.cval = self.offset = 0
        self.high = False

    def is_met(self, count: int) -> bool:
        # A comparison of unsigned numbers: D12.2.4.
        return (count - self.offset) & _U64 >= self.cval

    def change_after(self, count: int) -> int:
        # The physical count at which is_met() changes next: it comes to CVAL, or wraps.
        own = (count - self.offset) & _U64
        return count + (self.cval if own < self.cval else _COUNTS) - own

    def read(self, register: int, count: int) -> int:
        if register == _CVAL:
            return self.cval
        if register == _TVAL:
            return (self.cval - count + self.offset) & _U32
        is_met = self.control & _ENABLE and self.is_met(count)
        return self.control | (_ISTATUS if is_met else 0)

    def write(self, register: int, value: int, count: int) -> None:
        if register == _CTL:
            self.control = value & (_ENABLE | _IMASK)
        elif register == _CVAL:
            self.cval = value
        else:
            low = value & _U32
            self.cval = (count - self.offset + low - (low >> 31 << 32)) & _U64


class _Timers:
    # The timers of one CPU, and when tick() has something to do.

    __slots__ = ("all", "due")

    def __init__(self) -> None:
        self.all = tuple(_Timer() for _ in range(4))
        self.due: int | None = None


class GenericTimer:
    """The timers of all CPUs; lines are PHYSICAL to HYP_VIRTUAL of each."""

    encodings = frozenset(_REGISTERS)

    def __init__(self, board: Board) -> None:
        self._signal, self._offset = board.signal, board.counter_offset
        self._cpus = [_Timers() for _ in board.hwids]

    def read(self, cpu: int, encoding: Encoding, now: int) -> int:
        """Return a register, u64; ISTATUS is 0 while the timer is disabled."""
        line, register = _REGISTERS[encoding]
        self.tick(cpu, now)
        return self._cpus[cpu].all[line].read(register, count_at(now))

    def write(self, cpu: int, encoding: Encoding, value: int, now: int) -> None:
        """Write a register; the line changes at once."""
        line, register = _REGISTERS[encoding]
        self.tick(cpu, now)
        self._cpus[cpu].all[line].write(register, value, count_at(now))
        self._update(cpu, now)

    def reset(self, cpu: int, now: int) -> None:
        """Disable the timers of ``cpu``: what they hold is UNKNOWN then, and 0 on KVM and QEMU."""
        for timer in self._cpus[cpu].all:
            timer.control = timer.cval = 0
        self._update(cpu, now)

    def tick(self, cpu: int, now: int) -> int | None:
        """Let the time of ``cpu`` come to ``now`` (ns); return when its next line changes, or None.

        CNTVOFF_EL2 may have changed since.
        """
        timers = self._cpus[cpu]
        due = timers.due
        if (due is None or now < due) and self._offset(cpu) == timers.all[VIRTUAL].offset:
            return due
        timers.all[VIRTUAL].offset = self._offset(cpu)
        return self._update(cpu, now)

    def _update(self, cpu: int, now: int) -> int | None:
        timers, count, due = self._cpus[cpu], count_at(now), _NS_MAX
        for line, timer in enumerate(timers.all):
            is_on = timer.control & (_ENABLE | _IMASK) == _ENABLE
            high = is_on and timer.is_met(count)
            if is_on and timer.cval:  # a condition of 0 is met for good
                due = min(due, ns_of(timer.change_after(count)))
            if high != timer.high:
                timer.high = high
                self._signal(line, cpu, high)
        timers.due = due if due < _NS_MAX else None
        return timers.due

    def state(self) -> Any:
        """Return all registers and lines, by CPU."""
        return tuple(
            (timers.due, tuple((each.control, each.cval, each.offset, each.high) for each in timers.all))
            for timers in self._cpus
        )

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned; signals nothing."""
        for timers, (due, kept) in zip(self._cpus, state, strict=True):
            timers.due = due
            for timer, values in zip(timers.all, kept, strict=True):
                timer.control, timer.cval, timer.offset, timer.high = values
